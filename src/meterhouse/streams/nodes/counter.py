"""readers/counter, Count: n records with the numbers from 0."""

from collections.abc import Sequence
from typing import ClassVar

from meterhouse.rules.records import as_number
from meterhouse.streams.function import Node, Record, Step, StreamError


class Counter:
    type: ClassVar[str] = "readers/counter"
    reads: ClassVar[bool] = True

    def __init__(self, node: Node) -> None:
        number = as_number(node.params.get("max"))
        if number is None or number < 0 or number != int(number):
            raise StreamError(f"{node.name}: max must be a whole number, 0 or more")
        self._max = int(number)

    async def read(self, step: Step, limit: int) -> bool:
        start: int = step.state.get("next", 0)
        end = min(start + limit, self._max)
        for value in range(start, end):
            step.emit(Record({"value": value}))
        step.state["next"] = max(start, end)
        return end < self._max

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        """Nothing leads to a reader, except its own records that come back."""
        for record in records:
            step.emit(record)

    async def flush(self, step: Step, *, final: bool) -> None: ...
