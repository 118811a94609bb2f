"""Collectors and what was sent to them: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Result, RowMapping, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import Page
from meterhouse.tables import accounts, collector_reads, collectors, inbox, rejected_records

MAX_COLLECTORS = 5

# Names are sorted byte by byte, whatever the database's own language is.
COLLECTOR_ORDER: Mapping[str, ColumnElement[Any]] = {
    "name": collectors.c.name.collate("C"),
    "status": collectors.c.created_at,  # all have the same: what is left is the age
    "createdAt": collectors.c.created_at,
    "updatedAt": collectors.c.updated_at,
}

_NAME_TAKEN = "the account has a collector with this name"


async def list_collectors(
    connection: AsyncConnection, account_id: UUID, order: ColumnElement[Any], page: Page
) -> tuple[Sequence[RowMapping], int]:
    """One page and how many there are in all."""
    own = select(collectors).where(collectors.c.account_id == account_id)
    rows: Result[Any] = await connection.execute(
        own.order_by(order, collectors.c.id).limit(page.limit).offset(page.skip)
    )
    total = select(func.count()).select_from(own.subquery())
    return rows.mappings().all(), (await connection.execute(total)).scalar_one()


async def find_collector(connection: AsyncConnection, account_id: UUID, collector_id: UUID) -> RowMapping | None:
    statement = select(collectors).where(collectors.c.account_id == account_id, collectors.c.id == collector_id)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def create_collector(connection: AsyncConnection, account_id: UUID, name: str, now: datetime) -> RowMapping:
    """Raises ConflictError for a name that is taken and for one collector too many."""
    await _lock_account(connection, account_id)
    counted = select(func.count()).select_from(collectors).where(collectors.c.account_id == account_id)
    if (await connection.execute(counted)).scalar_one() >= MAX_COLLECTORS:
        raise ConflictError(f"the account has {MAX_COLLECTORS} collectors, which is the most it may have")
    values = {"account_id": account_id, "id": uuid4(), "name": name, "created_at": now, "updated_at": now}
    statement = insert(collectors).values(values).on_conflict_do_nothing().returning(collectors)
    created: Result[Any] = await connection.execute(statement)
    row = created.mappings().first()
    if row is None:
        raise ConflictError(_NAME_TAKEN)
    return row


async def _lock_account(connection: AsyncConnection, account_id: UUID) -> None:
    """Until the end of the transaction, creates of one account wait for one another; nothing else waits for them."""
    locked = select(accounts.c.account_id).where(accounts.c.account_id == account_id).with_for_update(key_share=True)
    await connection.execute(locked)


async def rename_collector(
    connection: AsyncConnection, account_id: UUID, collector_id: UUID, name: str, now: datetime
) -> RowMapping | None:
    """None when there is none. Raises ConflictError for a name that is taken."""
    statement = (
        update(collectors)
        .where(collectors.c.account_id == account_id, collectors.c.id == collector_id)
        .values(name=name, updated_at=now)
        .returning(collectors)
    )
    try:
        renamed: Result[Any] = await connection.execute(statement)
    except IntegrityError as error:  # the name is all that changes, so it is the name
        raise ConflictError(_NAME_TAKEN) from error
    return renamed.mappings().first()


async def delete_collector(connection: AsyncConnection, account_id: UUID, collector_id: UUID) -> bool:
    """With its data; False when there was none.

    Writers of the inbox wait while the collector's row is locked, so most of the data goes first and only what came
    meanwhile goes under the lock.
    """
    data = delete(inbox).where(inbox.c.account_id == account_id, inbox.c.collector_id == collector_id)
    own = delete(collectors).where(collectors.c.account_id == account_id, collectors.c.id == collector_id)
    await connection.execute(data)
    if (await connection.execute(own)).rowcount == 0:
        return False
    await connection.execute(data)
    return True


async def find_ingestion(
    connection: AsyncConnection, account_id: UUID, collector_id: UUID, ingestion_id: UUID
) -> RowMapping | None:
    statement = select(inbox.c.ingestion_id, inbox.c.collector_id, inbox.c.received_at, inbox.c.seq).where(
        inbox.c.account_id == account_id,
        inbox.c.ingestion_id == ingestion_id,
        inbox.c.collector_id == collector_id,
    )
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def readers_of(
    connection: AsyncConnection, account_id: UUID, collector_id: UUID, seq: int
) -> Sequence[RowMapping]:
    """The stream runs that have read this arrival."""
    c = collector_reads.c
    statement = select(c.stream_id, c.run_id).where(
        c.account_id == account_id, c.collector_id == collector_id, c.first_seq <= seq, c.last_seq >= seq
    )
    rows: Result[Any] = await connection.execute(statement)
    return rows.mappings().all()


async def rejections_of(connection: AsyncConnection, account_id: UUID, ingestion_id: UUID) -> Sequence[RowMapping]:
    """What is in Data correction of it."""
    c = rejected_records.c
    statement = select(c.stream_id, c.node_id, c.node_name, c.error).where(
        c.account_id == account_id, c.ingestion_id == ingestion_id
    )
    rows: Result[Any] = await connection.execute(statement.order_by(c.created_at, c.id).limit(1_000))
    return rows.mappings().all()
