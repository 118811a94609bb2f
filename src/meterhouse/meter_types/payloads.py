"""JSON of meter types, in and out, and the pieces of it that meters share (reference: usage engine 1.4)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from sqlalchemy import RowMapping

from meterhouse.errors import BadRequestError
from meterhouse.rules.instants import parse_instant
from meterhouse.rules.periods import check_field, schedule_of
from meterhouse.rules.storable import storable
from meterhouse.rules.thresholds import Threshold
from meterhouse.rules.windows import find_zone

DEFAULT_CATEGORY = "DEFAULT"
MAX_THRESHOLDS = 5
MAX_CUSTOM_FIELDS_BYTES = 16 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 1000

# As in the reference's pattern, which JSON Schema reads with ASCII letters.
_NAME = re.compile(r"[\w\s().-]+", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_CONTROL_BUT_BREAKS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_encode = msgspec.json.Encoder(decimal_format="number").encode


# --- what is read ------------------------------------------------------------------------------------------------


def _line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return storable(text)


def _prose(text: str) -> str:
    if _CONTROL_BUT_BREAKS.search(text):
        raise ValueError("must not contain control characters other than tabs and line breaks")
    return storable(text)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("may only contain letters, digits, spaces and - _ . ( )")
    return text


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date-time in RFC 3339 as text")  # noqa: TRY004 - pydantic reports ValueErrors
    return parse_instant(value)


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004
    number = Decimal(value)
    if not _is_storable(number):
        raise ValueError(f"must have at most {MAX_DIGITS} digits before and after the point")
    return number


def _is_storable(number: Decimal) -> bool:
    _, digits, exponent = number.as_tuple()
    return isinstance(exponent, int) and exponent >= -MAX_DIGITS and len(digits) + exponent <= MAX_DIGITS


def _custom_fields(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")  # noqa: TRY004
    for reason in _unstorable(value, 1):
        raise ValueError(reason)
    if len(_encode(value)) > MAX_CUSTOM_FIELDS_BYTES:
        raise ValueError(f"must have at most {MAX_CUSTOM_FIELDS_BYTES} bytes of JSON")
    return value


def _unstorable(value: object, depth: int) -> Iterator[str]:
    """Why the database, or a reader of the answer, could not take the value."""
    if depth > MAX_DEPTH:
        yield f"must be nested at most {MAX_DEPTH} deep"
    elif isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            yield "must not contain the character U+0000 or lone surrogates"
    elif isinstance(value, int | Decimal) and not _is_storable(Decimal(value)):
        yield f"a number has at most {MAX_DIGITS} digits before and after the point"
    elif isinstance(value, dict | list):
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        for part in parts:
            yield from _unstorable(part, depth + 1)


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("must not be null")
    return value


def _crontab(text: str, info: ValidationInfo) -> str:
    assert info.field_name is not None, "stands on fields"
    check_field(info.field_name, text)
    return text


def _zone(name: str) -> str:
    find_zone(name)
    return name


def _distinct(thresholds: list["ThresholdBody"]) -> list["ThresholdBody"]:
    if len({one.name for one in thresholds}) < len(thresholds):
        raise ValueError("names must differ within the list")
    return thresholds


NOT_NULL = BeforeValidator(_not_null)
"""On a member that may be left out but is no null: its None in Python is absence."""

Line = Annotated[str, AfterValidator(_line)]
Reference = Annotated[Line, Field(min_length=1, max_length=100)]
Number = Annotated[Decimal, BeforeValidator(_number)]
Capacity = Annotated[Decimal, Field(ge=0), BeforeValidator(_number)]
_Percentage = Annotated[Decimal, Field(gt=0), BeforeValidator(_number)]
CustomFields = Annotated[dict[str, Any], BeforeValidator(_custom_fields)]

_Instant = Annotated[datetime, BeforeValidator(_instant)]
_Name = Annotated[Line, Field(min_length=1, max_length=80), AfterValidator(_name)]
_Word = Annotated[Line, Field(min_length=1, max_length=50)]
_Crontab = Annotated[str, AfterValidator(_crontab)]
_Zone = Annotated[str, AfterValidator(_zone)]


class Body(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=to_camel, extra="forbid")

    def require_member(self) -> Self:
        """For updates: a BadRequestError when nothing is to be changed."""
        if not self.model_fields_set:
            raise BadRequestError("the body has no member to change")
        return self


class AggregationBody(Body):
    type: Literal["sum", "increment", "max", "min"]


class ResetScheduleBody(Body):
    minute: _Crontab
    hour: _Crontab
    day: _Crontab
    month: _Crontab
    weekday: _Crontab

    @model_validator(mode="after")
    def _comes(self) -> Self:
        schedule_of(**self.model_dump())
        return self


class ThresholdBody(Body):
    name: Annotated[Line, Field(min_length=1, max_length=80)]
    absolute_value: Annotated[Number | None, NOT_NULL] = None
    capacity_percentage: Annotated[_Percentage | None, NOT_NULL] = None
    custom_fields: Annotated[CustomFields, Field(default_factory=dict)]

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.absolute_value is None) == (self.capacity_percentage is None):
            raise ValueError("must have exactly one of absoluteValue and capacityPercentage")
        return self

    def stored(self) -> Threshold:
        percentage = self.absolute_value is None
        limit = (
            {"capacityPercentage": self.capacity_percentage} if percentage else {"absoluteValue": self.absolute_value}
        )
        return {"name": self.name} | limit | {"customFields": self.custom_fields}


Thresholds = Annotated[list[ThresholdBody], Field(max_length=MAX_THRESHOLDS), AfterValidator(_distinct)]


class MeterTypeUpdate(Body):
    active_from: _Instant | None = None
    active_to: _Instant | None = None
    capacity: Annotated[Capacity | None, NOT_NULL] = None
    category: _Word | None = None
    description: Annotated[Annotated[str, Field(max_length=200), AfterValidator(_prose)] | None, NOT_NULL] = None
    external_ref: Reference | None = None
    name: Annotated[_Name | None, NOT_NULL] = None
    reset_schedule: Annotated[ResetScheduleBody | None, NOT_NULL] = None
    thresholds: Annotated[Thresholds | None, NOT_NULL] = None
    timezone: Annotated[_Zone | None, NOT_NULL] = None
    unit: Annotated[_Word | None, NOT_NULL] = None

    def columns(self, now: datetime) -> dict[str, Any]:
        """What the body sets. A null resets: the activity begins now, the category is the default one."""
        columns = {name: getattr(self, name) for name in self.model_fields_set}
        resets = {"active_from": now, "category": DEFAULT_CATEGORY}
        columns |= {name: value for name, value in resets.items() if name in columns and columns[name] is None}
        if self.thresholds is not None:
            columns["thresholds"] = [one.stored() for one in self.thresholds]
        if self.reset_schedule is not None:
            columns["reset_schedule"] = self.reset_schedule.model_dump()
        return columns


class MeterTypeCreate(MeterTypeUpdate):
    aggregation: AggregationBody
    name: _Name
    reset_schedule: ResetScheduleBody
    timezone: _Zone
    unit: _Word

    def columns(self, now: datetime) -> dict[str, Any]:
        unset = {"active_from": now, "category": DEFAULT_CATEGORY, "thresholds": []}
        return unset | super().columns(now) | {"aggregation": self.aggregation.type}


# --- what is answered --------------------------------------------------------------------------------------------


def number_json(number: Decimal | int) -> msgspec.Raw:
    """Digit for digit and never with an exponent: 51, 176.5, 0.0000001."""
    text = f"{number:f}" if isinstance(number, Decimal) else str(number)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return msgspec.Raw(b"0" if text == "-0" else text.encode())


def threshold_json(threshold: Threshold) -> dict[str, Any]:
    limits = ("absoluteValue", "capacityPercentage")
    return threshold | {name: number_json(threshold[name]) for name in limits if name in threshold}


def _offset_instant(instant: datetime | None) -> str | None:
    """2023-07-26T09:00:15.690+00:00, as only meter types print it."""
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="milliseconds")


def meter_type_json(row: RowMapping) -> dict[str, Any]:
    schedule = row["reset_schedule"]
    body = {
        "accountId": row["account_id"],
        "activeFrom": _offset_instant(row["active_from"]),
        "activeTo": _offset_instant(row["active_to"]),
        "aggregation": {"type": row["aggregation"]},
        "capacity": None if row["capacity"] is None else number_json(row["capacity"]),
        "category": row["category"],
        "createdAt": _offset_instant(row["created_at"]),
        "description": row["description"],
        "externalRef": row["external_ref"],
        "id": row["id"],
        "name": row["name"],
        "numberOfMeters": row["number_of_meters"],
        "resetSchedule": {name: schedule[name] for name in ("day", "hour", "minute", "month", "weekday")},
        "thresholds": [threshold_json(one) for one in row["thresholds"]],
        "timezone": row["timezone"],
        "unit": row["unit"],
        "updatedAt": _offset_instant(row["updated_at"]),
    }
    return {name: value for name, value in body.items() if value is not None}
