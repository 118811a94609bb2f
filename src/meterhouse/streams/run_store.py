"""Runs of streams and what they leave behind: SQL. Every function but `claim` takes the tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.errors import LockNotAvailable
from sqlalchemy import Result, RowMapping, Table, and_, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import Page
from meterhouse.tables import collector_reads, inbox, stream_log, stream_nodes, stream_outputs, stream_runs, streams

LONG_STEP_MILLISECONDS = 2_000

MAX_SLICE_BYTES = 2 * 1024 * 1024
"""Of what was sent: small objects, of which a text may have very many, take a hundred times as much memory."""

_r = stream_runs.c


async def claim(connection: AsyncConnection, now: datetime) -> RowMapping | None:
    """The run that has been due longest and that nobody is stepping, locked; of any account: workers serve all."""
    stream = and_(streams.c.account_id == _r.account_id, streams.c.id == _r.stream_id)
    statement = (
        select(stream_runs, streams.c.stop_before)
        .join(streams, stream)
        .where(_r.status == "running", _r.next_step_at <= now)
        .order_by(_r.next_step_at)
        .limit(1)
        .with_for_update(of=stream_runs, skip_locked=True)
    )
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


@dataclass(frozen=True, slots=True)
class NewRun:
    """`kind`: batch or realtime."""

    stream_id: UUID
    kind: str
    document: str


async def insert_run(connection: AsyncConnection, account_id: UUID, new: NewRun, now: datetime) -> UUID:
    """Due at once. Raises ConflictError while another run of the stream is under way."""
    run_id = uuid4()
    values: dict[str, Any] = {"account_id": account_id, "stream_id": new.stream_id, "id": run_id}
    values |= {"kind": new.kind, "document": new.document}
    values |= {"status": "running", "nodes": {}, "state": {}, "audit": {}, "failures": 0}
    values |= {"started_at": now, "next_step_at": now, "flushed_at": now}
    try:
        await connection.execute(insert(stream_runs).values(values))
    except IntegrityError as error:
        raise ConflictError("the stream is running already") from error
    return run_id


def _one(account_id: UUID, run_id: UUID) -> Any:
    return and_(_r.account_id == account_id, _r.id == run_id)


async def keep_progress(connection: AsyncConnection, account_id: UUID, run_id: UUID, values: Mapping[str, Any]) -> None:
    """Of one that is still running."""
    running = and_(_one(account_id, run_id), _r.status == "running")
    await connection.execute(update(stream_runs).where(running).values(values))


async def abort(connection: AsyncConnection, account_id: UUID, run_id: UUID, error: str, now: datetime) -> None:
    values = {"status": "aborted", "error": error, "ended_at": now}
    await keep_progress(connection, account_id, run_id, values)


async def is_running(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> bool:
    running = and_(_r.account_id == account_id, _r.stream_id == stream_id, _r.status == "running")
    return (await connection.execute(select(_r.id).where(running))).first() is not None


async def end_running(connection: AsyncConnection, account_id: UUID, stream_id: UUID, now: datetime) -> bool:
    """Completes the stream's running run, if there is one; False when it is in the middle of a step that takes long."""
    running = and_(_r.account_id == account_id, _r.stream_id == stream_id, _r.status == "running")
    try:
        async with connection.begin_nested():
            await connection.execute(text(f"SET LOCAL lock_timeout = {LONG_STEP_MILLISECONDS}"))
            await connection.execute(update(stream_runs).where(running).values(status="completed", ended_at=now))
            await connection.execute(text("SET LOCAL lock_timeout = DEFAULT"))
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return False
        raise
    return True


async def list_runs(connection: AsyncConnection, account_id: UUID, stream_id: UUID, page: Page) -> Sequence[RowMapping]:
    """The newest first."""
    statement = select(stream_runs).where(_r.account_id == account_id, _r.stream_id == stream_id)
    statement = statement.order_by(_r.started_at.desc(), _r.id).limit(page.limit).offset(page.skip)
    return (await connection.execute(statement)).mappings().all()


async def find_run(connection: AsyncConnection, account_id: UUID, stream_id: UUID, run_id: UUID) -> RowMapping | None:
    statement = select(stream_runs).where(_one(account_id, run_id), _r.stream_id == stream_id)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def list_lines(
    connection: AsyncConnection, table: Table, account_id: UUID, run_id: UUID, page: Page
) -> Sequence[RowMapping]:
    """Of a run's log or outputs, in the order in which they came."""
    own = and_(table.c.account_id == account_id, table.c.run_id == run_id)
    statement = select(table).where(own).order_by(table.c.line_no).limit(page.limit).offset(page.skip)
    return (await connection.execute(statement)).mappings().all()


async def add_outputs(
    connection: AsyncConnection, account_id: UUID, run_id: UUID, reached: Sequence[tuple[str, Any]], now: datetime
) -> None:
    """`reached`: node id and payload."""
    if reached:
        own = {"account_id": account_id, "run_id": run_id, "reached_at": now}
        rows = [own | {"node_id": node_id, "payload": payload} for node_id, payload in reached]
        await connection.execute(insert(stream_outputs), rows)


async def add_log(
    connection: AsyncConnection, account_id: UUID, run_id: UUID, lines: Sequence[tuple[str, str, str]], now: datetime
) -> None:
    """`lines`: node id, level, text."""
    if lines:
        own = {"account_id": account_id, "run_id": run_id, "logged_at": now}
        rows = [own | {"node_id": node_id, "level": level, "message": text} for node_id, level, text in lines]
        await connection.execute(insert(stream_log), rows)


# --- what nodes are called outside -------------------------------------------------------------------------------


async def named_nodes(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> Sequence[RowMapping]:
    c = stream_nodes.c
    statement = select(stream_nodes).where(c.account_id == account_id, c.stream_id == stream_id)
    return (await connection.execute(statement)).mappings().all()


async def name_node(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, node_id: str, names: Mapping[str, str | None]
) -> bool:
    """False when the meter key belongs to another node of the account."""
    values = {"account_id": account_id, "stream_id": stream_id, "node_id": node_id} | dict(names)
    statement = upsert(stream_nodes).values(values).on_conflict_do_nothing()
    return (await connection.execute(statement)).rowcount > 0


async def forget_name(connection: AsyncConnection, account_id: UUID, stream_id: UUID, node_id: str) -> None:
    c = stream_nodes.c
    own = and_(c.account_id == account_id, c.stream_id == stream_id, c.node_id == node_id)
    await connection.execute(delete(stream_nodes).where(own))


# --- collectors, read --------------------------------------------------------------------------------------------


async def read_inbox(
    connection: AsyncConnection, run: tuple[UUID, UUID, UUID], collector_id: UUID, limit: int
) -> Sequence[RowMapping]:
    """What the stream has not read yet, in arrival order; it counts as read with this transaction.

    `run`: account, stream and run. Ends with the row that passes MAX_SLICE_BYTES.
    """
    account_id, stream_id, run_id = run
    c, r = inbox.c, collector_reads.c
    here = and_(r.account_id == account_id, r.stream_id == stream_id, r.collector_id == collector_id)
    position = (await connection.execute(select(func.max(r.last_seq)).where(here))).scalar_one()
    unread = c.seq > (-1 if position is None else position)
    next_ones = (
        select(c.seq, c.ingestion_id, c.data, func.octet_length(c.data).label("size"))
        .where(c.account_id == account_id, c.collector_id == collector_id, unread)
        .order_by(c.seq)
        .limit(limit)
        .subquery()
    )
    size_before = func.sum(next_ones.c.size).over(order_by=next_ones.c.seq) - next_ones.c.size
    sized = select(next_ones, size_before.label("size_before")).subquery()
    statement = select(sized).where(sized.c.size_before < MAX_SLICE_BYTES).order_by(sized.c.seq)
    rows = (await connection.execute(statement)).mappings().all()
    if rows:
        keys = {"account_id": account_id, "stream_id": stream_id, "collector_id": collector_id, "run_id": run_id}
        span = {"first_seq": rows[0]["seq"], "last_seq": rows[-1]["seq"]}
        read = upsert(collector_reads).values(keys | span)
        longer = {"last_seq": span["last_seq"]}
        await connection.execute(read.on_conflict_do_update(index_elements=list(keys), set_=longer))
    return rows
