"""transforms/map, the Field organizer: fields chosen, renamed and put in order."""

from collections.abc import Sequence
from typing import Any, ClassVar

from meterhouse.rules.records import MISSING, find, put
from meterhouse.streams.function import Node, Record, Step, StreamError


class FieldOrganizer:
    type: ClassVar[str] = "transforms/map"

    def __init__(self, node: Node) -> None:
        mappings = node.params.get("mappings") or []
        if isinstance(mappings, dict):  # as documents had it before schema version 2
            mappings = [mappings]
        if not isinstance(mappings, list) or not all(isinstance(one, dict) for one in mappings):
            raise StreamError(f"{node.name}: mappings must be a list of objects {{new name: old name}}")
        self._pairs = [(new, str(old)) for one in mappings for new, old in one.items()]

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            step.emit(Record(self._organize(record.payload), record.meta))

    def _organize(self, payload: dict[str, Any]) -> dict[str, Any]:
        organized: dict[str, Any] = {}
        for new, old in self._pairs:
            value = find(payload, old)
            if value is not MISSING:
                put(organized, new, value)
        return organized

    async def flush(self, step: Step, *, final: bool) -> None: ...
