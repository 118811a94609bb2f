"""The way into the inbox: requests that arrive together are stored in one commit, in the order of their arrival.

The statement locks the collectors that it writes for, until its commit. Three things follow, in every process:
a collector that is deleted takes nothing more from that moment on, what a collector's deletion removes is all there
was, and the arrival numbers of one collector become visible in their order, so that a consumer's position is enough.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from prometheus_client import Counter, Gauge, Histogram
from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse.errors import BadRequestError, NotFoundError, bad_field
from meterhouse.group_commit import GroupCommit, Measure

_ROW_BYTES = 200  # what a row weighs beside its data

_stored = Counter("meterhouse_inbox_stored_total", "Requests stored in the inbox of a collector.")
_MEASURE = Measure(
    noun="requests",
    max_batch=8 * 1024 * 1024,
    max_waiting=128 * 1024 * 1024,
    waiting=Gauge("meterhouse_inbox_waiting_bytes", "Bytes sent to collectors that wait for their commit."),
    batch=Histogram(
        "meterhouse_inbox_commit_bytes",
        "Bytes sent to collectors in one commit.",
        buckets=(1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7),
    ),
)

# A batch that is written again, because its answer was lost, finds its ingestion ids and is not stored twice. Arrival
# numbers are taken after the lock: the ordered subquery cannot end before all collectors are locked.
_STORE = """
    WITH open AS MATERIALIZED (
        SELECT account_id, id FROM collectors
        WHERE (account_id, id) IN (
            SELECT account_id, collector_id
            FROM json_to_recordset(%(rows)s::json) AS incoming (account_id uuid, collector_id uuid)
        )
        ORDER BY account_id, id
        FOR NO KEY UPDATE
    ),
    stored AS (
        INSERT INTO inbox (account_id, collector_id, seq, ingestion_id, received_at, data)
        SELECT account_id, collector_id, nextval('inbox_seq'), ingestion_id, received_at, data
        FROM (
            SELECT incoming.*
            FROM ROWS FROM (json_to_recordset(%(rows)s::json) AS (
                account_id uuid, collector_id uuid, ingestion_id uuid, received_at timestamptz, data text
            )) WITH ORDINALITY AS incoming (account_id, collector_id, ingestion_id, received_at, data, place)
            JOIN open ON open.account_id = incoming.account_id AND open.id = incoming.collector_id
            ORDER BY place
        ) AS ordered
        ON CONFLICT (account_id, ingestion_id) DO NOTHING
        RETURNING seq
    )
    SELECT account_id, id, (SELECT count(*) FROM stored) FROM open
"""

_encode = msgspec.json.encode


class Sent(msgspec.Struct, frozen=True):
    """One request's data, as it becomes a row."""

    account_id: UUID
    collector_id: UUID
    ingestion_id: UUID
    received_at: datetime
    data: str


class InboxWriter(GroupCommit[Sent, bool]):
    """One per process. `run` is its task; `put` waits for the commit."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, _MEASURE)

    async def put(self, account_id: UUID, collector_id: UUID, data: str, now: datetime) -> UUID:
        """Stores the JSON text and returns its ingestion id. Raises NotFoundError for an unknown collector."""
        sent = Sent(account_id, collector_id, new_ingestion_id(now), now, data)
        if not await self.submit(sent, len(data) + _ROW_BYTES, now):
            raise NotFoundError(f"collector not found: {collector_id}")
        return sent.ingestion_id

    def refused(self, reason: str) -> BadRequestError:
        return bad_field("data", f"cannot be stored: {reason}")

    async def store(self, connection: AsyncConnection, items: Sequence[Sent]) -> list[bool]:
        """Whether each has its collector, and so was stored: by this try or by an earlier one."""
        cursor = await connection.execute(_STORE, {"rows": _encode(items).decode()})
        found = await cursor.fetchall()
        if found:
            _stored.inc(found[0][2])
        collectors = {(account_id, collector_id) for account_id, collector_id, _ in found}
        return [(sent.account_id, sent.collector_id) in collectors for sent in items]


def new_ingestion_id(now: datetime) -> UUID:
    """UUID version 7 (RFC 9562): its first 48 bits are milliseconds, so the index of ids grows at one end."""
    milliseconds = int(now.timestamp() * 1000)
    random = int.from_bytes(os.urandom(10))
    return UUID(int=milliseconds << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1)
