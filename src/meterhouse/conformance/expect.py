"""What an answer should be, compared with what it is."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

MISSING = object()
"""Seen where there is no member."""


@dataclass(frozen=True, slots=True)
class Like:
    """Any value of a kind. `holds` is asked with MISSING too."""

    name: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Only:
    """An object with these members and no others; a plain dict allows others."""

    members: dict[str, Any]


def pattern(name: str, expression: str) -> Like:
    compiled = re.compile(expression)
    return Like(name, lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None)


def one_of(name: str, item: Any) -> Like:
    """A list with an item like this among others."""
    return Like(name, lambda value: isinstance(value, list) and any(not differences(item, each) for each in value))


_SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
ANYTHING = Like("anything", lambda value: value is not MISSING)
ABSENT = Like("absent", lambda value: value is MISSING)
ABSENT_OR_NULL = Like("absent or null", lambda value: value is MISSING or value is None)
TEXT = Like("a text", lambda value: isinstance(value, str) and value != "")
OBJECT = Like("an object", lambda value: isinstance(value, dict))
WHOLE_NUMBER = Like("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
UUID = pattern("a UUID", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ULID = pattern("a ULID", r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
INSTANT = pattern("an instant in RFC 3339", _SECONDS + r"(\.\d+)?(Z|[+-]\d\d:\d\d)")
INSTANT_Z = pattern("an instant like 2023-07-01T00:00:00.000Z", _SECONDS + r"\.\d{3}Z")
INSTANT_OFFSET = pattern("an instant like 2023-07-26T09:00:15.690+00:00", _SECONDS + r"\.\d{3}\+00:00")


def differences(expected: Any, seen: Any, at: str = "") -> list[str]:
    """A line for each thing that is not as expected; numbers are equal when their values are, exactly."""
    place = at or "the body"
    if isinstance(expected, Like):
        return [] if expected.holds(seen) else [f"{place} is {show(seen)}, not {expected.name}"]
    if isinstance(expected, Only):
        extra = sorted(seen.keys() - expected.members.keys()) if isinstance(seen, dict) else []
        return differences(expected.members, seen, at) + [f"{_below(at, name)} is not expected" for name in extra]
    if isinstance(expected, dict):
        return _of_members(expected, seen, at)
    if isinstance(expected, list):
        return _of_items(expected, seen, at)
    same_kind = isinstance(expected, bool) == isinstance(seen, bool)
    return [] if same_kind and expected == seen else [f"{place} is {show(seen)}, not {show(expected)}"]


def _of_members(expected: dict[str, Any], seen: Any, at: str) -> list[str]:
    if not isinstance(seen, dict):
        return [f"{at or 'the body'} is {show(seen)}, not an object"]
    names = expected.items()
    return [line for name, value in names for line in differences(value, seen.get(name, MISSING), _below(at, name))]


def _of_items(expected: list[Any], seen: Any, at: str) -> list[str]:
    if not isinstance(seen, list) or len(seen) != len(expected):
        return [f"{at or 'the body'} is {show(seen)}, not a list of {len(expected)}"]
    pairs = enumerate(zip(expected, seen, strict=True))
    return [line for place, (value, item) in pairs for line in differences(value, item, f"{at}[{place}]")]


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def show(value: Any) -> str:
    """On one line, for people."""
    if value is MISSING:
        return "missing"
    if isinstance(value, Like):
        return value.name
    if isinstance(value, Only):
        return show(value.members)
    if isinstance(value, dict):
        told = [f"{name}: {show(item)}" for name, item in value.items() if item is not ANYTHING]
        return "{" + ", ".join(told) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
