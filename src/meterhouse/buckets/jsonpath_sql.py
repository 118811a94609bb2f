"""The SQL of meters' JSONPaths and of the values found there (reference: metering 3.2, 8.4, 8.5)."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Lateral,
    Numeric,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from meterhouse.rules.jsonpath import Elements, Member, Step

Json = ColumnElement[Any]

# Postgres reads more as a number than meters do (blanks, NaN, hexadecimal); what passes here always casts.
_NUMERIC_TEXT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?0*[0-9]{1,3})?$"
_MAX_NUMERIC_TEXT = 1000


class Extraction:
    """Where the value of one path is found: `value`, and the lateral join it needs if the path branches."""

    def __init__(self, document: Json, steps: tuple[Step, ...], name: str) -> None:
        branches = any(isinstance(step, Elements) and step.single is None for step in steps)
        self.lateral: Lateral | None = _first_scalar(document, steps).lateral(name) if branches else None
        self.value: Json = _descend(document, steps) if self.lateral is None else self.lateral.c.value

    def text(self) -> ColumnElement[str]:
        """The scalar's text: numbers without trailing zeros, null as `null`, and "" where there is no scalar."""
        plain = _plain(self.value)
        forms = {
            "string": plain,
            "number": cast(func.trim_scale(cast(self.value, Numeric)), Text),
            "boolean": plain,
            "null": literal_column("'null'"),
        }
        return case(forms, value=func.jsonb_typeof(self.value), else_=literal_column("''"))

    def number(self) -> ColumnElement[object]:
        """The exact number: of a JSON number or of a numeric text; NULL for anything else."""
        plain = _plain(self.value)
        numeric_text = and_(func.length(plain) <= _MAX_NUMERIC_TEXT, plain.regexp_match(_NUMERIC_TEXT))
        forms = {"number": cast(self.value, Numeric), "string": case((numeric_text, cast(plain, Numeric)))}
        return case(forms, value=func.jsonb_typeof(self.value))

    def exists(self) -> ColumnElement[bool]:
        """Whether there is a scalar, be it empty or null."""
        return func.coalesce(func.jsonb_typeof(self.value).not_in(("object", "array")), False)


def _plain(value: Json) -> ColumnElement[str]:
    return value.op("#>>", return_type=Text())(literal_column("'{}'"))


def _descend(document: Json, steps: tuple[Step, ...]) -> Json:
    for step in steps:
        if isinstance(step, Member):
            document = document.op("->", return_type=JSONB())(literal(step.name, Text))
        else:
            element = document.op("->", return_type=JSONB())(literal(step.single, Integer))
            # Without the test, `-> 0` on a scalar gives the scalar itself.
            document = case((func.jsonb_typeof(document) == "array", element))
    return document


def _first_scalar(document: Json, steps: tuple[Step, ...]):  # type: ignore[no-untyped-def] # noqa: ANN202
    """The first scalar in path order: each branching step unnests its array."""
    source: FromClause | None = None
    order: list[ColumnElement[object]] = []
    kept: list[ColumnElement[bool]] = []
    value = document
    for number, step in enumerate(steps):
        if isinstance(step, Member) or step.single is not None:
            value = _descend(value, (step,))
            continue
        array = case((func.jsonb_typeof(value) == "array", value))
        unnested = func.jsonb_array_elements(array).table_valued(column("value", JSONB), with_ordinality="place")
        elements = unnested.render_derived(f"elements_{number}")
        source = elements if source is None else source.join(elements, true())
        if step.ranges:
            index = elements.c.place - 1
            inside = [and_(index >= first, index < past) for first, past in step.ranges]
            kept.append(or_(*inside))
            order.append(case(*((condition, place) for place, condition in enumerate(inside))))
        order.append(elements.c.place)
        value = elements.c.value
    assert source is not None, "called for branching paths only"
    scalar = func.jsonb_typeof(value).not_in(("object", "array"))
    return select(value.label("value")).select_from(source).where(scalar, *kept).order_by(*order).limit(1)
