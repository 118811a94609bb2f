"""The values of a record: reached by a path, compared, and written as text (reference: streams, The document).

A record is a JSON object whose numbers are int or Decimal. Nothing here changes one that it is given: a record may be
walking to several functions at once.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum
from typing import Any, Final

EXACT = Context(prec=4_000, traps=[InvalidOperation, Inexact])
"""Sums and products to the last digit; one that needs more than 4000 is refused."""
QUOTIENT = Context(prec=34, traps=[InvalidOperation])
"""Divisions need not end: 34 digits, as IEEE 754 decimals have."""

MAX_EXPONENT = 1_000

MAX_TEXT = 4 * 1024 * 1024
"""Characters of a text that is made of others."""


class TooLongTextError(ValueError):
    """A text would have more than MAX_TEXT characters: documents can make it grow with every function."""

    def __init__(self) -> None:
        super().__init__(f"a text would have more than {MAX_TEXT} characters")


class Missing(Enum):
    """What a path leads to that leads nowhere; JSON's null is a value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

# No part of a text fits two parts of an expression: long ones are read in one go.
_NUMERIC = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?\s*", re.ASCII)
_INDEX = re.compile(r"\[(\d{1,9})\]", re.ASCII)


def find(value: Any, path: str) -> Any:
    """What `a.b`, `a.0.b` or `a[0].b` leads to, or MISSING. A name that has dots itself is found as it is."""
    if isinstance(value, Mapping) and path in value:
        return value[path]
    names = (_INDEX.sub(r".\1", path).removeprefix(".") if "[" in path else path).split(".")
    for place, name in enumerate(names):
        rest = ".".join(names[place:])
        if isinstance(value, Mapping) and rest in value:
            return value[rest]
        value = _member(value, name)
        if value is MISSING:
            return MISSING
    return value


def _member(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name, MISSING)
    if isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
        return value[int(name)]
    return MISSING


def put(record: dict[str, Any], path: str, value: Any) -> None:
    """Sets `a.b` inside `a`, which is copied first. Where `a` is no object, `a.b` is the name as it stands."""
    name, dot, rest = path.partition(".")
    inner = record.get(name, MISSING)
    if not dot or path in record or not name or not rest or not (inner is MISSING or isinstance(inner, dict)):
        record[path] = value
        return
    copied = {} if inner is MISSING else dict(inner)
    put(copied, rest, value)
    record[name] = copied


def without(record: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy that lacks the field `a` or, of `a`, the field `a.b`."""
    if path in record:
        return {name: value for name, value in record.items() if name != path}
    name, dot, rest = path.partition(".")
    inner = record.get(name)
    return {**record, name: without(inner, rest)} if dot and isinstance(inner, dict) else dict(record)


def as_number(value: Any) -> Decimal | None:
    """The number that a number or a numeric text stands for; None for all else, and beyond a thousand digits."""
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        number = Decimal(value.strip())
    elif isinstance(value, float):  # from a document that was read without care for decimals
        number = Decimal(repr(value))
    elif isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        return None
    return number if number.is_finite() and _is_reasonable(number) else None


def _is_reasonable(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_EXPONENT and abs(number.adjusted()) <= MAX_EXPONENT


def tidy(number: Decimal) -> int | Decimal:
    """As JSON shows it best: 51 and not 51.0, 2.5 and not 2.50."""
    if number == number.to_integral_value():
        return int(number)
    return number.normalize(EXACT)


def join(texts: Iterable[str]) -> str:
    """TooLongTextError."""
    parts: list[str] = []
    room = MAX_TEXT
    for text in texts:
        room -= len(text)
        if room < 0:
            raise TooLongTextError
        parts.append(text)
    return "".join(parts)


def text_of(value: Any) -> str:
    """As it stands inside other text: missing is empty, objects and lists are canonical JSON."""
    if isinstance(value, str):
        return value
    return "" if value is MISSING else canonical_json(value)


class _Written(str):
    """A part of JSON text, among values that are still to be written."""

    __slots__ = ()


def canonical_json(value: Any) -> str:
    """Compact, names sorted, equal numbers alike: equal values have equal texts. Any depth of nesting."""
    written: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Written):
            written.append(item)
        elif isinstance(item, Mapping):
            waiting.extend(reversed([_Written("{"), *_members(item), _Written("}")]))
        elif isinstance(item, (list, tuple)):
            waiting.extend(reversed([_Written("["), *_elements(item), _Written("]")]))
        else:
            written.append(_scalar(item))
    return "".join(written)


def _members(item: Mapping[str, Any]) -> Iterator[Any]:
    for place, name in enumerate(sorted(item)):
        yield _Written(("," if place else "") + json.dumps(name, ensure_ascii=False) + ":")
        yield item[name]


def _elements(item: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    for place, element in enumerate(item):
        if place:
            yield _Written(",")
        yield element


def _scalar(value: Any) -> str:
    number = as_number(value) if not isinstance(value, str) else None
    if number is None:
        return json.dumps(value, ensure_ascii=False, default=str)
    return _plain(tidy(number))


def _plain(number: int | Decimal) -> str:
    return str(number) if isinstance(number, int) else format(number, "f")


def equal(left: Any, right: Any) -> bool:
    """Numbers and numeric texts as numbers, all else by what it reads as."""
    numbers = as_number(left), as_number(right)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] == numbers[1]
    return text_of(left) == text_of(right)


def compare(left: Any, right: Any) -> int | None:
    """Below, at or above 0: as numbers where both are, as texts where both are, and else None: there is no order."""
    numbers = as_number(left), as_number(right)
    if numbers[0] is not None and numbers[1] is not None:
        return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    return None
