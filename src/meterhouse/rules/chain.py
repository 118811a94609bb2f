"""Statements of periods are chained: each carries the hash of the one before, so that none can be changed or lost.

The hash is the SHA-256, in hexadecimal, of the period as canonical JSON without its member `hash`: members sorted by
name, no blanks, text as it is in UTF-8, numbers in plain digits without exponent and trailing zeros.
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


def canonical(value: Any) -> str:
    """Of what JSON can hold, numbers as int or Decimal."""
    if isinstance(value, Mapping):
        members = (f"{_text(name)}:{canonical(value[name])}" for name in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return digits(value)
    return _text(value)


def _text(value: str | bool | None) -> str:  # noqa: FBT001 - any value
    return json.dumps(value, ensure_ascii=False)
