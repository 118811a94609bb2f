"""readers/online_collection: what was sent to a collector, once each, in arrival order (reference: usage engine 3)."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from uuid import UUID

from meterhouse.errors import BadRequestError
from meterhouse.streams.function import INGESTION, Node, Record, Step, StreamError
from meterhouse.streams.run_store import MAX_SLICE_BYTES, read_inbox
from meterhouse.wire import decode_json


class OnlineCollector:
    type: ClassVar[str] = "readers/online_collection"
    reads = True

    def __init__(self, node: Node) -> None:
        try:
            self._collector_id = UUID(str(node.params.get("collectorId")))
        except ValueError:
            raise StreamError(f"{node.name}: collectorId: must be the id of a collector") from None

    async def read(self, step: Step, limit: int) -> bool:
        run = (step.account_id, step.stream_id, step.run_id)
        rows = await read_inbox(step.connection, run, self._collector_id, limit)
        for row in rows:
            for payload in payloads(decode_json(row["data"].encode())):
                step.emit(Record(payload, {INGESTION: str(row["ingestion_id"])}))
        return len(rows) == limit or sum(row["size"] for row in rows) >= MAX_SLICE_BYTES

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        """What is sent in again goes on as it is."""
        for record in records:
            step.emit(record)

    async def flush(self, step: Step, *, final: bool) -> None:
        """Holds nothing back."""


def payloads(data: Any) -> Iterator[dict[str, Any]]:
    """An object is the payload; text that is JSON or NDJSON becomes its records, other text {"data": text}."""
    if isinstance(data, dict):
        yield data
        return
    records = _read_text(data)
    if records is None:
        yield {"data": data}
    else:
        yield from records


def _read_text(text: str) -> list[dict[str, Any]] | None:
    """None unless all of it is JSON objects: one, a list of them, or one a line."""
    for parts in ([text], text.splitlines()):
        try:
            values = [decode_json(part.encode()) for part in parts if part.strip()]
        except BadRequestError:
            continue
        found = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        if found and all(isinstance(value, dict) for value in found):
            return list(found)
    return None
