"""limit, skip and sort of the Usage Engine's lists, read strictly and applied (reference: its 1.4)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import ColumnElement

from meterhouse.errors import bad_field

MAX_LIMIT = 100
MAX_SKIP = 1_000_000_000


def whole_number(value: object) -> int:
    """Digits only: the framework's own reading also takes `+5`, `5.0` and `1_0`."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError("must be a whole number")
    return int(text)


class Page(BaseModel):
    """For `Annotated[Page, Query()]`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(whole_number)] = 25
    skip: Annotated[int, Field(ge=0, le=MAX_SKIP), BeforeValidator(whole_number)] = 0


class SortedPage(Page):
    """`sort_by` None: the list's own order. Which fields it may name, the list knows."""

    sort_order: Literal["ASC", "DESC"] = "ASC"
    sort_by: str | None = None


def sort_key(page: SortedPage, fields: Mapping[str, ColumnElement[Any]], default: str) -> ColumnElement[Any]:
    """The ORDER BY that the page asks for. A BadRequestError that names `sortBy` when it is none of the fields."""
    column = fields.get(default if page.sort_by is None else page.sort_by)
    if column is None:
        raise bad_field("sortBy", f"must be one of {', '.join(fields)}")
    return column.asc() if page.sort_order == "ASC" else column.desc()
