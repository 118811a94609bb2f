"""Filters on text values: OpenMeter's FilterString, read from JSON into a small tree (reference: metering 2.2, 8.5)."""

from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 16
MAX_CONDITIONS = 500

COMPARISONS = ("$eq", "$ne", "$like", "$nlike", "$ilike", "$nilike", "$gt", "$gte", "$lt", "$lte")


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class OneOf:
    values: tuple[str, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Exists:
    wanted: bool


@dataclass(frozen=True, slots=True)
class Every:
    """All of the parts hold; without parts, always true."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple["Condition", ...]


Condition = Compare | OneOf | Exists | Every | Some
ALWAYS = Every(())


class FilterError(ValueError):
    """What is wrong, with the path to it: `filter.model.$in: must be …`."""


def parse_filter(value: Any, path: str) -> Condition:
    """A FilterString object. Several operators in one object are ANDed; `{}` and empty lists of parts say nothing."""
    budget = [MAX_CONDITIONS]
    return _parse(value, path, 0, budget)


def _parse(value: Any, path: str, depth: int, budget: list[int]) -> Condition:
    if not isinstance(value, dict):
        raise FilterError(f'{path}: must be an object of operators such as {{"$eq": …}}')
    if depth > MAX_DEPTH:
        raise FilterError(f"{path}: filters nest at most {MAX_DEPTH} deep")
    parts = [_operator(name, operand, f"{path}.{name}", depth, budget) for name, operand in value.items()]
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _operator(name: str, operand: Any, path: str, depth: int, budget: list[int]) -> Condition:
    budget[0] -= 1
    if budget[0] < 0:
        raise FilterError(f"{path}: a filter has at most {MAX_CONDITIONS} conditions")
    if name in COMPARISONS:
        return Compare(name, _text(operand, path, pattern="like" in name))
    if name in ("$in", "$nin"):
        if not isinstance(operand, list):
            raise FilterError(f"{path}: must be a list of strings")
        values = tuple(_text(item, f"{path}[{index}]") for index, item in enumerate(operand))
        return OneOf(values, negated=name == "$nin")
    if name == "$exists":
        if not isinstance(operand, bool):
            raise FilterError(f"{path}: must be true or false")
        return Exists(operand)
    if name in ("$and", "$or"):
        if not isinstance(operand, list):
            raise FilterError(f"{path}: must be a list of filters")
        parts = tuple(_parse(part, f"{path}[{index}]", depth + 1, budget) for index, part in enumerate(operand))
        spoken = tuple(part for part in parts if part != ALWAYS)
        return Every(spoken) if name == "$and" or not spoken else Some(spoken)
    raise FilterError(f"{path}: unknown operator")


def _text(value: Any, path: str, *, pattern: bool = False) -> str:
    if not isinstance(value, str):
        raise FilterError(f"{path}: must be a string")
    if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in value):
        raise FilterError(f"{path}: contains a character that no event can have")
    if pattern and (len(value) - len(value.rstrip("\\"))) % 2:
        raise FilterError(f"{path}: must not end with a lone backslash")
    return value
