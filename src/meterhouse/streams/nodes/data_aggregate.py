"""transforms/data_aggregate, the Data aggregator: records summed up by key, sent when their time has come."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from meterhouse.rules.comparisons import COMPARISONS
from meterhouse.rules.grouping import (
    BrokenGroupingError,
    UngroupableError,
    idle_since,
    in_order,
    parse_grouping,
    take,
)
from meterhouse.rules.records import MISSING, as_number, find
from meterhouse.streams.function import Node, Record, Step, StreamError

_AT_END = ("ALL_FILES", "EACH_FILE")
_MAX_TIMEOUT_SECONDS = 3_650 * 86_400
_SECONDS_OF = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_592_000}


@dataclass(frozen=True, slots=True)
class _Condition:
    field: str
    holds: Callable[[Any, Any], bool]
    value: Any

    def fits(self, result: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
        """Of the group as it stands or, for a field that is not in it, of the record that came last."""
        found = find(result, self.field)
        return self.holds(find(payload, self.field) if found is MISSING else found, self.value)


class DataAggregator:
    type: ClassVar[str] = "transforms/data_aggregate"

    def __init__(self, node: Node) -> None:
        try:
            self._grouping = parse_grouping(node.params)
        except BrokenGroupingError as error:
            raise StreamError(f"{node.name}: {error}") from None
        self._flush_type: str = node.params.get("flushType") or "ALL_FILES"
        self._timeout: timedelta | None = None
        self._conditions: list[_Condition] = []
        if self._flush_type == "TIMEOUT":
            self._timeout = _timeout(node)
        elif self._flush_type == "CONDITION":
            self._conditions = _conditions(node)
        elif self._flush_type not in _AT_END:
            raise StreamError(f"{node.name}: unknown flushType {self._flush_type!r}")

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            try:
                group = self._grouping.add(step.state, record.payload, step.now)
            except UngroupableError as error:
                step.reject(record, str(error))
                continue
            if self._conditions:
                result = self._grouping.result(step.state, group)
                if all(condition.fits(result, record.payload) for condition in self._conditions):
                    self._send(group, step)

    async def flush(self, step: Step, *, final: bool) -> None:
        """At the end everything goes: nothing comes after it that could send what is left."""
        if final:
            for group in in_order(step.state):
                self._send(group, step)
        elif self._timeout is not None:
            for group in idle_since(step.state, step.now - self._timeout):
                self._send(group, step)

    def _send(self, group: str, step: Step) -> None:
        result = self._grouping.result(step.state, group)
        step.emit(Record(result, {**take(step.state, group), "flushType": self._flush_type}))


def _timeout(node: Node) -> timedelta:
    """`timeout` in seconds, or {"value": 2, "unit": "hour"}: since the last record of a group."""
    given = node.params.get("timeout")
    unit = "second"
    if isinstance(given, dict):
        unit = str(given.get("unit") or given.get("type") or unit).lower().removesuffix("s")
        given = given.get("value")
    number = as_number(given)
    if number is None or not 0 < number * _SECONDS_OF.get(unit, 0) <= _MAX_TIMEOUT_SECONDS:
        raise StreamError(f"{node.name}: TIMEOUT needs a timeout, in seconds or as an object with value and unit")
    return timedelta(seconds=int(number * _SECONDS_OF[unit]))


def _conditions(node: Node) -> list[_Condition]:
    """`conditionalFlushConfig`: [{"field": "sum_bytes", "op": "ge", "value": 1000}], all of which must hold."""
    items = node.params.get("conditionalFlushConfig")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise StreamError(f"{node.name}: CONDITION needs conditionalFlushConfig, a list of conditions")
    conditions = []
    for item in items:
        operation = item.get("op") or item.get("operator")
        if not isinstance(item.get("field"), str) or operation not in COMPARISONS:
            raise StreamError(f"{node.name}: a condition needs a field and an op of {', '.join(COMPARISONS)}")
        conditions.append(_Condition(item["field"], COMPARISONS[operation], item.get("value")))
    return conditions
