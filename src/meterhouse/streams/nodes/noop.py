"""writers/noop, No operation: the records that reach it are counted with the run, and that is all."""

from collections.abc import Sequence
from typing import ClassVar

from meterhouse.streams.function import Node, Record, Step


class NoOperation:
    type: ClassVar[str] = "writers/noop"

    def __init__(self, node: Node) -> None: ...

    async def handle(self, records: Sequence[Record], step: Step) -> None: ...

    async def flush(self, step: Step, *, final: bool) -> None: ...
