"""Group commit: events of requests that arrive together go into one statement; each is answered after its commit.

Exactly once: the primary key of `events` decides, in the same transaction as the row. A batch whose answer was lost is
sent again: its rows carry their arrival numbers, so what the first try stored is recognised as our own.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from prometheus_client import Counter, Gauge, Histogram
from psycopg import AsyncConnection, DataError, Error, InterfaceError, OperationalError
from psycopg.errors import (
    DeadlockDetected,
    LockNotAvailable,
    ProgramLimitExceeded,
    QueryCanceled,
    SerializationFailure,
    StatementTooComplex,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse.errors import BadRequestError, UnavailableError
from meterhouse.rules.events import Event

_log = logging.getLogger(__name__)

MAX_BATCH_EVENTS = 5_000
MAX_WAITING_EVENTS = 200_000
RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
SEQ_BLOCK = 1_000_000

_committed = Counter("meterhouse_events_committed_total", "Events stored, durable and counted.")
_waiting = Gauge("meterhouse_events_waiting", "Events that wait for their commit.")
_batch = Histogram(
    "meterhouse_commit_events", "Events in one commit.", buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000)
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

# The database refuses the content itself: trying again would not help, but a neighbour's events may be fine.
_REFUSED = (DataError, ProgramLimitExceeded, StatementTooComplex)
_PASSING = (OperationalError, InterfaceError, DeadlockDetected, SerializationFailure, SQLAlchemyError, OSError)


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
    answer: asyncio.Future[list[Outcome]]
    first_seq: int = -1
    """Numbered at the first try; a repeated try keeps its numbers."""


@dataclass(slots=True)
class EventWriter:
    """One per process. `run` is its task; `write` waits for the commit."""

    engine: AsyncEngine
    _queue: deque[_Request] = field(default_factory=deque)
    _queued_events: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _connection: AsyncConnection | None = None
    _next_seq: int = 0
    _last_seq: int = -1
    _closing: bool = False

    @property
    def waiting_events(self) -> int:
        return self._queued_events

    def lag_seconds(self, now: datetime) -> float:
        """How long the oldest request that is still queued has waited."""
        return (now - self._queue[0].now).total_seconds() if self._queue else 0.0

    async def write(self, account_id: UUID, bucket_no: int, events: list[Event], now: datetime) -> list[Outcome]:
        """Stores the events, or raises and stores none. The outcomes are in the order of the events."""
        if self._queued_events + len(events) > MAX_WAITING_EVENTS or self._closing:
            raise UnavailableError(
                "too many events wait for the database: try again in a moment", headers={"Retry-After": "1"}
            )
        answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Request(account_id, bucket_no, events, now, answer))
        self._queued_events += len(events)
        self._wake.set()
        return await answer

    async def run(self) -> None:
        """Commits what waits, as soon as the last commit is done, until closed and empty."""
        while True:
            if not self._queue:
                if self._closing:
                    break
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._take_batch()
            await self._commit(batch)
            self._queued_events -= sum(len(request.events) for request in batch)
            _waiting.set(self._queued_events)
        await self._disconnect()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def _take_batch(self) -> list[_Request]:
        batch = [self._queue.popleft()]
        size = len(batch[0].events)
        while self._queue and size + len(self._queue[0].events) <= MAX_BATCH_EVENTS:
            batch.append(self._queue.popleft())
            size += len(batch[-1].events)
        _batch.observe(size)
        return batch

    async def _commit(self, batch: list[_Request]) -> None:
        try:
            answers = await self._store_with_retries(batch)
        except _REFUSED as error:
            if len(batch) == 1:
                _answer(batch[0], BadRequestError(f"the events cannot be stored: {_reason(error)}"))
                return
            for request in batch:
                await self._commit([request])
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be answered
            _log.exception("a commit of %d requests failed", len(batch))
            unavailable = UnavailableError(
                "the database is unavailable: nothing was stored", headers={"Retry-After": "1"}
            )
            for request in batch:
                _answer(request, unavailable if isinstance(error, _PASSING) else error)
            return
        for request, outcomes in zip(batch, answers, strict=True):
            _answer(request, outcomes)

    async def _store_with_retries(self, batch: list[_Request]) -> list[list[Outcome]]:
        for pause in RETRY_SECONDS:
            try:
                return await self._store(batch)
            except (*_PASSING, QueryCanceled, LockNotAvailable) as error:
                if isinstance(error, _REFUSED):
                    raise
                _log.warning("a commit is tried again in %s s: %s", pause, _reason(error))
                await self._disconnect()
                await asyncio.sleep(pause)
        return await self._store(batch)

    async def _store(self, batch: list[_Request]) -> list[list[Outcome]]:
        connection = await self._connected()
        for request in batch:
            if request.first_seq < 0:
                request.first_seq = await self._number(connection, len(request.events))
        rows = [_row(request, index, event) for request in batch for index, event in enumerate(request.events)]
        outcomes = await self._insert(connection, rows)
        return [
            [outcomes.get(request.first_seq + i, ACCEPTED) for i in range(len(request.events))] for request in batch
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

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            raw = await self.engine.raw_connection()
            driver: AsyncConnection = raw.driver_connection  # type: ignore[assignment]
            # It stays with the writer for good: the pool may open another in its place.
            raw.detach()
            await driver.rollback()
            await driver.set_autocommit(True)
            self._connection = driver
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                await connection.close()
            except Error:
                _log.debug("closing a broken connection failed", exc_info=True)


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


def _answer(request: _Request, result: list[Outcome] | Exception) -> None:
    if request.answer.done():  # the client went away; its events are stored all the same
        return
    if isinstance(result, Exception):
        request.answer.set_exception(result)
    else:
        request.answer.set_result(result)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]
