"""Statements of periods are chained: each carries the hash of the one before, so that none can be changed or lost.

The hash is the SHA-256, in small hexadecimal digits, of the period without its member `hash`, as canonical JSON in
UTF-8: no blanks; members sorted by the code points of their names; in texts only quotation mark, backslash and what is
below U+0020 escaped, as RFC 8785 has it; numbers in plain digits, without exponent, without zeros at the end of a
fraction, and zero without a sign.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

from meterhouse.rules.numbers import digits


def period_hash(period: Mapping[str, Any]) -> str:
    members = {name: value for name, value in period.items() if name != "hash"}
    return sha256(canonical(members).encode()).hexdigest()


class _Written(str):
    """A part of JSON text, among values that are still to be written."""

    __slots__ = ()


_OBJECT_ENDS, _LIST_ENDS = _Written("}"), _Written("]")


def canonical(value: Any) -> str:
    """Of what JSON can hold, numbers as int or Decimal; any depth of nesting."""
    written: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting.append(_OBJECT_ENDS)
            for place, name in enumerate(sorted(item, reverse=True), 1 - len(item)):
                waiting += (item[name], _Written(("," if place else "") + _text(name) + ":"))
            written.append("{")
        elif isinstance(item, list):
            waiting.append(_LIST_ENDS)
            for place, element in enumerate(reversed(item), 1 - len(item)):
                waiting += (element, _Written(",")) if place else (element,)
            written.append("[")
        else:
            written.append(item if isinstance(item, _Written) else _scalar(item))
    return "".join(written)


def _scalar(value: Any) -> str:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return digits(value)
    return _text(value)


_text = json.JSONEncoder(ensure_ascii=False).encode
