"""JSON that the database can keep: no U+0000, no lone surrogates, no numbers beyond a thousand digits."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from meterhouse.rules.numbers import parse_decimal

# Where one of these stands in a JSON text, the database may be unable to keep it and a closer look is needed.
_SUSPECT = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|[0-9][eE][+-]?[0-9]{3}|[0-9]{200}")
_MAX_DIGITS = 1000


def is_suspect(text: bytes) -> bool:
    """Cheap, and true for all JSON that cannot be kept (and for a little that can)."""
    return _SUSPECT.search(text) is not None


def why_unstorable(text: bytes) -> str | None:
    """The first reason why the JSON value cannot be kept. ValueError where a number cannot even be read."""
    value = json.loads(text, parse_float=parse_decimal, parse_int=parse_decimal)
    return next(_reasons(value), None)


def _reasons(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if "\x00" in value:
            yield "must not contain the character U+0000"
        if not is_encodable(value):
            yield "must not contain lone surrogates"
    elif isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() > _MAX_DIGITS or _exponent(value) < -_MAX_DIGITS:
            yield f"a number has at most {_MAX_DIGITS} digits before and after the point"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _reasons(name)
            yield from _reasons(item)
    elif isinstance(value, list):
        for item in value:
            yield from _reasons(item)


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(text: str) -> str:
    """The text itself, as a check of request members. ValueError says why it cannot be kept."""
    for reason in _reasons(text):
        raise ValueError(reason)
    return text
