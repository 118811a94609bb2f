"""Why a meter would not count an event: the notes that listings carry (reference: metering 3.1)."""

import re
from collections.abc import Mapping
from typing import Any

from meterhouse.rules.jsonpath import MISSING, first_scalar, parse_path

_NUMERIC_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?0*[0-9]{1,3})?", re.ASCII)
_MAX_NUMERIC_TEXT = 1000
_NOT_FINITE = {"nan": "NaN", "inf": "infinity", "infinity": "infinity"}


def value_problem(aggregation: str, value_property: str | None, data: Mapping[str, Any] | None) -> str | None:
    """None when the meter can use the event's value."""
    if aggregation == "COUNT" or value_property is None:
        return None
    if data is None:
        return "invalid event: null and missing value property"
    value = first_scalar(data, parse_path(value_property))
    return _unusable(aggregation, value_property, value)


def _unusable(aggregation: str, value_property: str, value: Any) -> str | None:
    if value is MISSING:
        return f'invalid event: missing value property: "{value_property}"'
    if value is None:
        return "invalid event: value cannot be null"
    if aggregation == "UNIQUE_COUNT":
        return "invalid event: value cannot be empty" if value == "" else None
    if isinstance(value, bool):
        return "unsupported value property type: bool"
    return _text_problem(value) if isinstance(value, str) else None


def _text_problem(text: str) -> str | None:
    if len(text) <= _MAX_NUMERIC_TEXT and _NUMERIC_TEXT.fullmatch(text):
        return None
    special = _NOT_FINITE.get(text.lstrip("+-").lower())
    if special:
        return f"invalid event: value cannot be {special}"
    return f"invalid event: value cannot be parsed as float64: {text[:100]}"
