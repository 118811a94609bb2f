"""transforms/script, Script: JavaScript of the user's own makes of a record none, one or many."""

from collections.abc import Sequence
from typing import ClassVar

from meterhouse.streams.function import Node, Record, Step
from meterhouse.streams.scripts import Row, read_script, run


class Script:
    type: ClassVar[str] = "transforms/script"

    def __init__(self, node: Node) -> None:
        self._script = read_script(node, "transform")

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        await run(self._script, [Row(record) for record in records], step)

    async def flush(self, step: Step, *, final: bool) -> None: ...
