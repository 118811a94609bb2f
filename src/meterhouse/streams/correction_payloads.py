"""JSON of Data correction, in and out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import RowMapping

from meterhouse.errors import bad_field
from meterhouse.paging import Page
from meterhouse.rules.instants import format_milliseconds, parse_instant
from meterhouse.rules.storable import is_suspect, storable, why_unstorable

MAX_RECORDS = 100_000
MAX_BODY_BYTES = 8 * 1024 * 1024
"""Room for so many ids, and for a few too many, which are refused by their number."""

MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_CHANGES_BYTES = 16 * 1024
MAX_DEPTH = 100

_encode = msgspec.json.Encoder(decimal_format="number").encode


# --- what is read ------------------------------------------------------------------------------------------------


def _not_null(value: object) -> object:
    """A filter whose value got lost on the way must not choose everything."""
    if value is None:
        raise ValueError("must not be null")
    return value


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date-time in RFC 3339 as text")  # noqa: TRY004 - pydantic reports ValueErrors
    return parse_instant(value)


def _true_or_false(value: object) -> object:
    """As JSON spells them: the framework's own reading also takes `yes`, `1` and more."""
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value


_NOT_NULL = BeforeValidator(_not_null)
_Text = Annotated[str, Field(min_length=1), AfterValidator(storable)]
_Instant = Annotated[datetime, BeforeValidator(_instant)]


class Filter(BaseModel):
    """All of it must hold; the error is compared whole. `from` is inside, `to` is not."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    stream_id: Annotated[UUID | None, _NOT_NULL] = None
    node_id: Annotated[_Text | None, _NOT_NULL] = None
    error: Annotated[_Text | None, _NOT_NULL] = None
    created_from: Annotated[_Instant | None, Field(alias="from"), _NOT_NULL] = None
    created_to: Annotated[_Instant | None, Field(alias="to"), _NOT_NULL] = None
    status: Annotated[Literal["open", "queued"] | None, _NOT_NULL] = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(include=set(Filter.model_fields), exclude_unset=True)


class FilteredPage(Filter, Page):
    """`summary`: counts instead of records."""

    model_config = ConfigDict(extra="ignore")

    summary: Annotated[bool, BeforeValidator(_true_or_false)] = False


_Ids = Annotated[list[UUID], Field(min_length=1, max_length=MAX_RECORDS, fail_fast=True)]


class CorrectionBody(BaseModel):
    """Either the whole payload of one record, or members that are set in each."""

    model_config = ConfigDict(extra="forbid")

    ids: _Ids
    payload: Annotated[dict[str, Any] | None, _NOT_NULL] = None
    changes: Annotated[dict[str, Any] | None, Field(min_length=1), _NOT_NULL] = None

    def require_one(self, body: bytes) -> None:
        """Raises BadRequestError. `body`: the JSON text that was read."""
        if self.payload is not None and self.changes is not None:
            raise bad_field("changes", "cannot be together with payload")
        if self.payload is not None:
            if len(self.ids) > 1:
                raise bad_field("ids", "must be one id where the whole payload is given")
            _require_storable("payload", self.payload, body, MAX_PAYLOAD_BYTES)
        elif self.changes is not None:
            _require_storable("changes", self.changes, body, MAX_CHANGES_BYTES)
        else:
            raise bad_field("payload", "is required (or changes, members that are set in each record)", "missing")


def _require_storable(member: str, value: Mapping[str, Any], body: bytes, limit: int) -> None:
    if not _is_shallow(value, MAX_DEPTH):
        raise bad_field(member, f"must be nested at most {MAX_DEPTH} deep")
    if is_suspect(body) and (reason := why_unstorable(body)) is not None:
        raise bad_field(member, reason)
    if len(_encode(value)) > limit:
        raise bad_field(member, f"must have at most {limit} bytes of JSON")


def _is_shallow(value: object, depth: int) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return depth >= 0 and all(_is_shallow(part, depth - 1) for part in parts)


class ChoiceBody(BaseModel):
    """Either ids or a filter."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[_Ids | None, _NOT_NULL] = None
    filter: Annotated[Filter | None, _NOT_NULL] = None

    def given(self) -> dict[str, Any]:
        """Raises BadRequestError. An empty filter is refused: it is rather a lost one than everything."""
        if self.ids is not None and self.filter is not None:
            raise bad_field("filter", "cannot be together with ids")
        if self.ids is not None:
            return {"ids": self.ids}
        if self.filter is None:
            raise bad_field("ids", "is required (or filter)", "missing")
        if not self.filter.given():
            raise bad_field("filter", "must not be empty")
        return self.filter.given()


# --- what is answered --------------------------------------------------------------------------------------------


def record_json(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "streamId": row["stream_id"],
        "runId": row["run_id"],
        "nodeId": row["node_id"],
        "nodeName": row["node_name"],
        "error": row["error"],
        "payload": row["payload"],
        "status": row["status"],
        "createdAt": format_milliseconds(row["created_at"]),
        "updatedAt": format_milliseconds(row["updated_at"]),
    }


def summary_json(row: RowMapping) -> dict[str, Any]:
    return {
        "streamId": row["stream_id"],
        "nodeId": row["node_id"],
        "nodeName": row["node_name"],
        "error": row["error"],
        "count": row["count"],
    }
