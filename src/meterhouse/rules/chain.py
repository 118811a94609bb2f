"""Statements of periods are chained: each carries the hash of the one before, so that none can be changed or lost.

The hash is the SHA-256, in small hexadecimal digits, of the period without its member `hash`, as canonical JSON in
UTF-8: no blanks; members sorted by the code points of their names; in texts only quotation mark, backslash and what is
below U+0020 escaped, as RFC 8785 has it; numbers in plain digits, without exponent, without zeros at the end of a
fraction, and zero without a sign.
"""

from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from meterhouse.rules.numbers import digits

_encode = msgspec.json.Encoder(order="deterministic").encode


def period_hash(period: Mapping[str, Any]) -> str:
    members = {name: value for name, value in period.items() if name != "hash"}
    return sha256(canonical(members)).hexdigest()


def canonical(value: Any) -> bytes:
    """Of what JSON can hold, numbers as int or Decimal. RecursionError beyond some hundred levels of nesting."""
    return _encode(_in_digits(value))


def _in_digits(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: item if type(item) is str else _in_digits(item) for name, item in value.items()}
    if kind is Decimal:
        return msgspec.Raw(digits(value).encode())
    return [_in_digits(item) for item in value] if kind is list else value
