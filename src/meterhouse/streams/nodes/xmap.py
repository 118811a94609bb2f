"""transforms/xmap, Map: fields computed by expressions. All of them see the record as it came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from meterhouse.rules.expressions import (
    BrokenExpressionError,
    Expression,
    FailedExpressionError,
    Scope,
    compile_expression,
)
from meterhouse.rules.records import MAX_TEXT, MISSING, TooLongTextError, put, without
from meterhouse.streams.function import Node, Record, Step, StreamError


@dataclass(frozen=True, slots=True)
class _Mapping:
    field: str
    expression: Expression
    error_message: str | None


class Map:
    type: ClassVar[str] = "transforms/xmap"

    def __init__(self, node: Node) -> None:
        self._mappings = [_mapping(node, item) for item in node.params.get("mappings") or []]
        kept = node.params.get("keepFields") or {}
        self._keeps = bool(kept.get("enabled"))
        self._except: list[str] = list(kept.get("except") or [])

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            try:
                step.emit(Record(self._map(record.payload, step.now), record.meta))
            except FailedExpressionError as error:
                step.reject(record, str(error))

    def _map(self, payload: dict[str, Any], now: datetime) -> dict[str, Any]:
        mapped = dict(payload) if self._keeps else {}
        for field in self._except:
            mapped = without(mapped, field)
        scope, room = Scope(payload, now), MAX_TEXT
        for mapping in self._mappings:
            try:
                value = mapping.expression(scope)
            except FailedExpressionError as error:
                raise FailedExpressionError(mapping.error_message or f"{mapping.field}: {error}") from None
            if isinstance(value, str) and (room := room - len(value)) < 0:
                raise TooLongTextError
            put(mapped, mapping.field, "" if value is MISSING else value)
        return mapped

    async def flush(self, step: Step, *, final: bool) -> None: ...


def _mapping(node: Node, item: Any) -> _Mapping:
    if not isinstance(item, dict) or not isinstance(item.get("field"), str) or not item["field"]:
        raise StreamError(f"{node.name}: each of mappings is an object with a `field`")
    try:
        return _Mapping(item["field"], compile_expression(item.get("ast")), item.get("errorMessage") or None)
    except BrokenExpressionError as error:
        raise StreamError(f"{node.name}: the expression of {item['field']} {error}") from None
