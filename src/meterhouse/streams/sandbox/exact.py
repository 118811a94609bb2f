"""Numbers that a script passes on without changing them, exact.

JavaScript's numbers are doubles. Where a record has one that a double cannot hold (an integer beyond 2^53, a decimal of
many digits), the double that comes back is replaced by the number that went in. A script that calculates gets what
JavaScript gives.
"""

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

Exact = dict[float, int | Decimal]
"""What a double stands for."""

# Sixteen digits in a row, or an exponent of three: without them every number of the JSON text is a double.
_SUSPECT = re.compile(rb"[0-9][0-9.]{15}|[eE][+-]?[0-9]{3}")


def exact_numbers(text: bytes, value: Any) -> Exact:
    """The numbers of the value that are no doubles. `text` is the value as JSON, which is searched first: it is quick.

    ValueError where a number is larger than any double.
    """
    if _SUSPECT.search(text) is None:
        return {}
    return merge({_double(number): number} for number in _numbers(value) if not _is_double(number))


def merge(parts: Iterable[Exact]) -> Exact:
    """All of them. Where one double stands for several numbers nobody can tell which it is, so it stays."""
    merged: Exact = {}
    unclear: set[float] = set()
    for part in parts:
        for double, number in part.items():
            if merged.setdefault(double, number) != number:
                unclear.add(double)
    for double in unclear:
        del merged[double]
    return merged


def restore(value: Any, exact: Exact) -> Any:
    """The value with the doubles replaced."""
    if isinstance(value, dict):
        return {name: restore(item, exact) for name, item in value.items()}
    if isinstance(value, list):
        return [restore(item, exact) for item in value]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return exact.get(float(value), value)
    return value


def _numbers(value: Any) -> Iterator[int | Decimal]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        yield value


def _is_double(number: int | Decimal) -> bool:
    double = _double(number)
    # A number too small for any double is left at zero, for which it could not stand.
    return double == 0 or Decimal(repr(double)) == number


def _double(number: int | Decimal) -> float:
    with suppress(OverflowError):
        double = float(number)
        if math.isfinite(double):
            return double
    raise ValueError(f"the number {str(number)[:40]} is larger than any that a script can read")
