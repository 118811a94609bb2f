"""Events of requests that arrive together go into one statement; each request is answered after its commit.

Exactly once: the primary key of `events` decides, in the same transaction as the row. A batch whose answer was lost is
sent again: its rows carry their arrival numbers, so what the first try stored is recognised as our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from prometheus_client import Counter, Gauge, Histogram
from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse.errors import BadRequestError
from meterhouse.group_commit import GroupCommit, Measure
from meterhouse.rules.events import Event

SEQ_BLOCK = 1_000_000

_committed = Counter("meterhouse_events_committed_total", "Events stored, durable and counted.")
_MEASURE = Measure(
    noun="events",
    max_batch=5_000,
    max_waiting=200_000,
    waiting=Gauge("meterhouse_events_waiting", "Events that wait for their commit."),
    batch=Histogram(
        "meterhouse_commit_events", "Events in one commit.", buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
    ),
)

_ROWS = """
    json_to_recordset(%s::json) AS incoming (
        account_id uuid, bucket_no integer, source text, id text, seq bigint, type text, subject text,
        time timestamptz, ingested_at timestamptz, data jsonb, attributes jsonb
    )
"""

# The rows come sorted by key: two processes that store the same events wait for each other instead of deadlocking.
_INSERT = f"""
    WITH stored AS (
        INSERT INTO events (account_id, bucket_no, source, id, seq, type, subject, time, ingested_at, data, attributes)
        SELECT * FROM {_ROWS}
        ON CONFLICT DO NOTHING RETURNING seq
    )
    SELECT count(*), CASE WHEN count(*) < %s THEN array_agg(seq) END FROM stored
"""  # noqa: S608 - no value is spliced in

# An event sent without a time got its arrival's; sent again without one, it is the same event.
_COMPARE = f"""
    SELECT incoming.seq, kept.seq = incoming.seq, kept.ingested_at,
        kept.type = incoming.type AND kept.subject = incoming.subject
        AND CASE WHEN incoming.time = incoming.ingested_at
            THEN kept.time = kept.ingested_at ELSE kept.time = incoming.time END
        AND kept.data IS NOT DISTINCT FROM incoming.data AND kept.attributes IS NOT DISTINCT FROM incoming.attributes
    FROM {_ROWS}
    JOIN events kept ON kept.account_id = incoming.account_id AND kept.bucket_no = incoming.bucket_no
        AND kept.source = incoming.source AND kept.id = incoming.id
"""  # noqa: S608

_KEEP_CONFLICT = f"""
    INSERT INTO event_conflicts (
        account_id, bucket_no, source, id, seq, type, subject, time, ingested_at, data, attributes, content_hash)
    SELECT incoming.*, sha256(convert_to(jsonb_build_array(
        type, subject, CASE WHEN time <> ingested_at THEN time END, data, attributes)::text, 'UTF8'))
    FROM {_ROWS}
    ON CONFLICT DO NOTHING
"""  # noqa: S608

Status = Literal["accepted", "duplicate", "conflict"]
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Outcome:
    status: Status
    first_ingested_at: datetime | None = None


ACCEPTED = Outcome("accepted")


class _Row(msgspec.Struct):
    account_id: UUID
    bucket_no: int
    source: str
    id: str
    seq: int
    type: str
    subject: str
    time: datetime
    ingested_at: datetime
    data: msgspec.Raw | None
    attributes: dict[str, msgspec.Raw] | None


@dataclass(slots=True, eq=False)
class _Request:
    account_id: UUID
    bucket_no: int
    events: list[Event]
    now: datetime
    first_seq: int = -1
    """Numbered at the first try; a repeated try keeps its numbers."""


class EventWriter(GroupCommit[_Request, list[Outcome]]):
    """One per process. `run` is its task; `write` waits for the commit."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, _MEASURE)
        self._next_seq = 0
        self._last_seq = -1

    async def write(self, account_id: UUID, bucket_no: int, events: list[Event], now: datetime) -> list[Outcome]:
        """Stores the events, or raises and stores none. The outcomes are in the order of the events."""
        return await self.submit(_Request(account_id, bucket_no, events, now), len(events), now)

    def refused(self, reason: str) -> BadRequestError:
        return BadRequestError(f"the events cannot be stored: {reason}")

    async def store(self, connection: AsyncConnection, items: Sequence[_Request]) -> list[list[Outcome]]:
        for request in items:
            if request.first_seq < 0:
                request.first_seq = await self._number(connection, len(request.events))
        rows = [_row(request, index, event) for request in items for index, event in enumerate(request.events)]
        outcomes = await self._insert(connection, rows)
        return [
            [outcomes.get(request.first_seq + i, ACCEPTED) for i in range(len(request.events))] for request in items
        ]

    async def _insert(self, connection: AsyncConnection, rows: list[_Row]) -> dict[int, Outcome]:
        """Outcomes by arrival number of all that were not simply stored."""
        ordered = sorted(rows, key=_key)
        cursor = await connection.execute(_INSERT, (_encode(ordered).decode(), len(rows)))
        found = await cursor.fetchone()
        assert found is not None, "an aggregate has one row"
        stored_count, stored = found
        _committed.inc(stored_count)
        if stored_count == len(rows):
            return {}
        new = set(stored or ())
        return await self._judge(connection, [row for row in rows if row.seq not in new])

    async def _judge(self, connection: AsyncConnection, rows: list[_Row]) -> dict[int, Outcome]:
        """Duplicate or conflict: compared with the event that has the key, which is committed by now."""
        cursor = await connection.execute(_COMPARE, (_encode(rows).decode(),))
        outcomes: dict[int, Outcome] = {}
        for seq, own, first_ingested_at, same in await cursor.fetchall():
            if not own:
                outcomes[seq] = Outcome("duplicate" if same else "conflict", first_ingested_at)
        conflicts = [row for row in rows if row.seq in outcomes and outcomes[row.seq].status == "conflict"]
        if conflicts:
            await connection.execute(_KEEP_CONFLICT, (_encode(conflicts).decode(),))
        return outcomes

    async def _number(self, connection: AsyncConnection, count: int) -> int:
        if self._next_seq + count > self._last_seq:
            cursor = await connection.execute("SELECT nextval('event_seq_blocks')")
            block = (await cursor.fetchone() or (0,))[0]
            self._next_seq, self._last_seq = block * SEQ_BLOCK, (block + 1) * SEQ_BLOCK
        self._next_seq += count
        return self._next_seq - count


def _row(request: _Request, index: int, event: Event) -> _Row:
    return _Row(
        request.account_id,
        request.bucket_no,
        event.source,
        event.id,
        request.first_seq + index,
        event.type,
        event.subject,
        event.time or request.now,
        request.now,
        event.data,
        event.attributes or None,
    )


def _key(row: _Row) -> tuple[int, str, str, int]:
    return (row.bucket_no, row.source, row.id, row.seq)
