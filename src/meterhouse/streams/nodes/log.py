"""writers/log, Log: the records that reach it are kept with the run."""

from collections.abc import Sequence
from typing import ClassVar

from meterhouse.streams.function import Node, Record, Step
from meterhouse.streams.nodes import REACHED


class Log:
    type: ClassVar[str] = "writers/log"

    def __init__(self, node: Node) -> None: ...

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            step.emit(record, REACHED)

    async def flush(self, step: Step, *, final: bool) -> None: ...
