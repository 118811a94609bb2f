"""Records summed up by key, in state that is plain JSON (reference: streams, transforms/data_aggregate).

State is an object of groups by the text of their key. Values in it are JSON texts, so that numbers stay exact wherever
the state is kept. A group remembers its place, for JSON objects in a database have no order.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from meterhouse.rules.calendar_units import PERIODS
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.moments import parse_iso, parse_milliseconds
from meterhouse.rules.numbers import parse_decimal
from meterhouse.rules.records import EXACT, MISSING, QUOTIENT, as_number, canonical_json, find, put, text_of, tidy

State = dict[str, Any]

_PREFIXES: Mapping[str, str] = {
    "NUMERIC_SUM": "sum",
    "NUMERIC_MAX": "max",
    "NUMERIC_MIN": "min",
    "NUMERIC_AVERAGE": "average",
    "GENERAL_COUNT": "count",
    "GENERAL_COUNT_UNIQUE": "count_unique",
    "GENERAL_CARRY_FIRST": "carry_first",
    "GENERAL_CARRY_LAST": "carry_last",
}
_LONGEST_VALUE = 64


class BrokenGroupingError(ValueError):
    """The keys or operations are wrong in the document."""


class UngroupableError(ValueError):
    """This record cannot be summed up; the message says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """`period` None: the value itself is the key."""

    field: str
    name: str
    period: str | None

    def value(self, payload: Mapping[str, Any]) -> Any:
        found = find(payload, self.field)
        if self.period is None or found is None:
            return found
        if found is MISSING:
            raise UngroupableError(f"{self.field} is missing")
        try:
            return PERIODS[self.period](_instant(found).astimezone(UTC))
        except (ValueError, OverflowError) as error:
            raise UngroupableError(f"{self.field}: {error}") from None


def _instant(value: Any) -> datetime:
    """ISO 8601, or a number of Unix milliseconds."""
    number = None if isinstance(value, str) else as_number(value)
    return parse_iso(text_of(value)) if number is None else parse_milliseconds(number)


@dataclass(frozen=True, slots=True)
class Operation:
    field: str
    name: str
    type: str

    def operand(self, payload: Mapping[str, Any]) -> Any:
        """The field's value, a number for the numeric ones. MISSING, which null is as well, leaves all as it was."""
        found = find(payload, self.field)
        if found is None or found is MISSING or not self.type.startswith("NUMERIC"):
            return MISSING if found is None else found
        number = as_number(found)
        if number is None:
            raise UngroupableError(f"{self.field} is not a number: {text_of(found)[:50]!r}")
        return number


@dataclass(frozen=True, slots=True)
class Grouping:
    keys: tuple[Key, ...]
    operations: tuple[Operation, ...]

    def add(self, state: State, payload: Mapping[str, Any], now: datetime) -> str:
        """Counts one record, wholly or (UngroupableError) not at all, and returns the text of its key."""
        values = [key.value(payload) for key in self.keys]
        operands = [operation.operand(payload) for operation in self.operations]
        text = canonical_json(["" if value is MISSING else canonical_json(value) for value in values])
        groups = state.setdefault("groups", {})
        group = groups.get(text)
        if group is None:
            state["places"] = place = state.get("places", 0) + 1
            kept = [None if value is MISSING else canonical_json(value) for value in values]
            group = {"place": place, "keys": kept, "sums": [None] * len(operands), "count": 0}
            group["firstEvent"] = format_milliseconds(now)
            groups[text] = group
        sums = group["sums"]
        for place, (operation, operand) in enumerate(zip(self.operations, operands, strict=True)):
            if operand is not MISSING:
                sums[place] = _ADD[operation.type](sums[place], operand)
        group["count"] += 1
        group["lastEvent"] = format_milliseconds(now)
        return text

    def result(self, state: State, text: str) -> dict[str, Any]:
        """The group's record: its keys, then its sums."""
        group = state["groups"][text]
        record: dict[str, Any] = {}
        for key, kept in zip(self.keys, group["keys"], strict=True):
            if kept is not None:
                put(record, key.name, _value(kept))
        for operation, kept in zip(self.operations, group["sums"], strict=True):
            value = _RESULT[operation.type](kept)
            if value is not MISSING:
                record[operation.name] = value
        return record


def in_order(state: State) -> list[str]:
    """The groups' keys, as their first records arrived."""
    groups: Mapping[str, Any] = state.get("groups", {})
    return sorted(groups, key=lambda text: groups[text]["place"])


def idle_since(state: State, instant: datetime) -> list[str]:
    """The keys of the groups that had no record after the instant, in order."""
    latest = format_milliseconds(instant)
    return [text for text in in_order(state) if state["groups"][text]["lastEvent"] <= latest]


def take(state: State, text: str) -> Mapping[str, Any]:
    """Ends the group; returns how many records it had, and when."""
    group: Mapping[str, Any] = state["groups"].pop(text)
    return {name: group[name] for name in ("count", "firstEvent", "lastEvent")}


def parse_grouping(params: Mapping[str, Any]) -> Grouping:
    """BrokenGroupingError."""
    try:
        keys = tuple(_key(item) for item in params.get("groupKeys") or [])
        operations = tuple(_operation(item) for item in params.get("operations") or [])
    except (KeyError, TypeError, AttributeError):
        raise BrokenGroupingError("groupKeys and operations are lists of objects with a `field`") from None
    if not keys:
        raise BrokenGroupingError("groupKeys: at least one field is needed")
    return Grouping(keys, operations)


def _key(item: Mapping[str, Any]) -> Key:
    field, kind = str(item["field"]), item.get("operationType") or "NONE"
    if kind == "NONE":
        return Key(field, item.get("alias") or field, None)
    if kind not in PERIODS:
        raise BrokenGroupingError(f"groupKeys: unknown operationType {kind!r}")
    return Key(field, item.get("alias") or f"{kind.lower()}_{field}", kind)


def _operation(item: Mapping[str, Any]) -> Operation:
    field, kind = str(item["field"]), str(item.get("type"))
    if kind not in _PREFIXES:
        raise BrokenGroupingError(f"operations: unknown type {kind!r}")
    return Operation(field, item.get("alias") or f"{_PREFIXES[kind]}_{field}", kind)


def _value(kept: str | None) -> Any:
    return MISSING if kept is None else json.loads(kept, parse_float=parse_decimal)


def _extreme(choose: Callable[[Decimal, Decimal], Decimal]) -> Callable[[str | None, Decimal], str]:
    return lambda kept, number: str(number if kept is None else choose(Decimal(kept), number))


def _sum(kept: str | None, number: Decimal) -> str:
    """Exact: of numbers of a thousand digits on both sides, more than can ever come fit into 4000."""
    return str(number if kept is None else EXACT.add(Decimal(kept), number))


def _average(kept: Sequence[Any] | None, number: Decimal) -> list[Any]:
    total, count = kept or (None, 0)
    return [_sum(total, number), count + 1]


def _unique(kept: dict[str, int] | None, value: Any) -> dict[str, int]:
    text = canonical_json(value)
    if len(text) > _LONGEST_VALUE:
        text = sha256(text.encode(errors="surrogatepass")).hexdigest()
    seen = {} if kept is None else kept
    seen[text] = 1
    return seen


_ADD: Mapping[str, Callable[[Any, Any], Any]] = {
    "NUMERIC_SUM": _sum,
    "NUMERIC_MAX": _extreme(max),
    "NUMERIC_MIN": _extreme(min),
    "NUMERIC_AVERAGE": _average,
    "GENERAL_COUNT": lambda kept, _: (kept or 0) + 1,
    "GENERAL_COUNT_UNIQUE": _unique,
    "GENERAL_CARRY_FIRST": lambda kept, value: canonical_json(value) if kept is None else kept,
    "GENERAL_CARRY_LAST": lambda _, value: canonical_json(value),
}


def _average_of(kept: Sequence[Any] | None) -> Any:
    return MISSING if kept is None else tidy(QUOTIENT.divide(Decimal(kept[0]), Decimal(kept[1])))


def _number(kept: str | None) -> Any:
    return MISSING if kept is None else tidy(Decimal(kept))


_RESULT: Mapping[str, Callable[[Any], Any]] = {
    "NUMERIC_SUM": lambda kept: _number(kept or "0"),
    "NUMERIC_MAX": _number,
    "NUMERIC_MIN": _number,
    "NUMERIC_AVERAGE": _average_of,
    "GENERAL_COUNT": lambda kept: kept or 0,
    "GENERAL_COUNT_UNIQUE": lambda kept: len(kept or {}),
    "GENERAL_CARRY_FIRST": _value,
    "GENERAL_CARRY_LAST": _value,
}
