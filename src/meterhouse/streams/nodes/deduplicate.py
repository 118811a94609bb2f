"""transforms/deduplicate, Deduplicate: the first record with a key goes on. Keys outlive the run."""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import ClassVar

from meterhouse.rules.records import as_number
from meterhouse.rules.templates import parse_field
from meterhouse.streams.dedup_store import KeySpace, claim_keys
from meterhouse.streams.function import Node, Record, Step, StreamError
from meterhouse.streams.nodes import outputs

DEFAULT_LIFE_TIME_DAYS = 30
MAX_LIFE_TIME_DAYS = 3_650


class Deduplicate:
    type: ClassVar[str] = "transforms/deduplicate"

    def __init__(self, node: Node) -> None:
        key = node.params.get("key")
        if not isinstance(key, str) or not key:
            raise StreamError(f"{node.name}: key must be a text such as ${{payload.id}}")
        days = as_number(node.params.get("lifeTimeDays", DEFAULT_LIFE_TIME_DAYS) or DEFAULT_LIFE_TIME_DAYS)
        if days is None or not 0 < days <= MAX_LIFE_TIME_DAYS:
            raise StreamError(f"{node.name}: lifeTimeDays must be a number of days up to {MAX_LIFE_TIME_DAYS}")
        self._node_id = node.id
        self._key = parse_field(key)
        self._life_time = timedelta(seconds=int(days * 86_400))
        named = outputs(node.params)
        self._unique, self._duplicate = named.get("unique"), named.get("duplicate")

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        hashed: list[tuple[Record, bytes]] = []
        for record in records:
            if self._key.is_filled(record.payload):
                key = self._key.text(record.payload)
                hashed.append((record, sha256(key.encode(errors="surrogatepass")).digest()))
            else:
                step.reject(record, "the record has no value for the deduplication key")
        if not hashed:
            return
        fresh = await claim_keys(
            step.connection,
            KeySpace(step.account_id, step.stream_id, self._node_id),
            {key for _, key in hashed},
            now=step.now,
            expires_at=step.now + self._life_time,
        )
        for record, digest in hashed:
            if digest in fresh:
                fresh.remove(digest)
                step.emit(record, self._unique)
            elif self._duplicate is not None:
                step.emit(record, self._duplicate)
            else:
                step.dropped += 1

    async def flush(self, step: Step, *, final: bool) -> None: ...
