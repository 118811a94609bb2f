"""Data correction's records: SQL. Every function but the last takes the tenant and uses it in its WHERE."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    ColumnElement,
    RowMapping,
    Uuid,
    any_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.paging import Page
from meterhouse.streams.function import INGESTION, Node, Record
from meterhouse.tables import rejected_records
from meterhouse.tables.runs import REJECTED_RECORDS_KEPT

_c = rejected_records.c


async def add(
    connection: AsyncConnection,
    run: RowMapping,
    node: Node,
    rejected: Sequence[tuple[Record, str]],
    now: datetime,
) -> None:
    if not rejected:
        return
    own = {"account_id": run["account_id"], "stream_id": run["stream_id"], "run_id": run["id"]}
    own |= {"node_id": node.id, "node_name": node.name, "status": "open", "created_at": now, "updated_at": now}
    rows = [
        own
        | {"id": uuid4(), "error": error, "payload": record.payload, "meta": record.meta}
        | {"ingestion_id": UUID(record.meta[INGESTION]) if INGESTION in record.meta else None}
        for record, error in rejected
    ]
    await connection.execute(insert(rejected_records), rows)


async def take_requeued(
    connection: AsyncConnection, stream: tuple[UUID, UUID], node_ids: Sequence[str], limit: int
) -> list[tuple[str, Record]]:
    """Node id and record, oldest first; they leave Data correction with this transaction.

    `stream`: account and stream. What a function rejected that the stream no longer has stays where it is.
    """
    account_id, stream_id = stream
    queued = (
        select(_c.id)
        .where(_c.account_id == account_id, _c.stream_id == stream_id, _c.status == "queued")
        .where(_c.node_id.in_(node_ids))
        .order_by(_c.created_at, _c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = (
        delete(rejected_records)
        .where(_c.account_id == account_id, _c.id.in_(queued))
        .returning(_c.node_id, _c.payload, _c.meta, _c.created_at, _c.id)
    )
    rows = sorted((await connection.execute(statement)).all(), key=lambda row: (row.created_at, row.id))
    return [(row.node_id, Record(row.payload, row.meta)) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Records for which all that is given holds; `created_from` is inside, `created_to` is not."""

    ids: Collection[UUID] | None = None
    stream_id: UUID | None = None
    node_id: str | None = None
    error: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    status: str | None = None

    def conditions(self, account_id: UUID) -> list[ColumnElement[bool]]:
        equal = {"stream_id": self.stream_id, "node_id": self.node_id, "error": self.error, "status": self.status}
        wanted = [_c.account_id == account_id]
        wanted += [_c[name] == value for name, value in equal.items() if value is not None]
        if self.ids is not None:
            wanted.append(_c.id == any_(_array(self.ids)))
        if self.created_from is not None:
            wanted.append(_c.created_at >= self.created_from)
        if self.created_to is not None:
            wanted.append(_c.created_at < self.created_to)
        return wanted


def _array(ids: Collection[UUID]) -> BindParameter[Any]:
    """One parameter, however many ids: a statement has at most 65 535."""
    return bindparam(None, list(ids), type_=ARRAY(Uuid))


async def list_records(
    connection: AsyncConnection, account_id: UUID, choice: Choice, page: Page
) -> Sequence[RowMapping]:
    statement = select(rejected_records).where(*choice.conditions(account_id)).order_by(_c.created_at, _c.id)
    return (await connection.execute(statement.limit(page.limit).offset(page.skip))).mappings().all()


async def summarize(connection: AsyncConnection, account_id: UUID, choice: Choice, page: Page) -> Sequence[RowMapping]:
    """Counts by stream, function and error, the largest first. A function that was renamed goes by one of its names."""
    keys = (_c.stream_id, _c.node_id, _c.error)
    statement = (
        select(*keys, func.max(_c.node_name).label("node_name"), func.count().label("count"))
        .where(*choice.conditions(account_id))
        .group_by(*keys)
        .order_by(func.count().desc(), *keys)
        .limit(page.limit)
        .offset(page.skip)
    )
    return (await connection.execute(statement)).mappings().all()


async def lock_records(connection: AsyncConnection, account_id: UUID, choice: Choice, limit: int) -> list[UUID]:
    """Waits for a step that is taking some of them: what it took is no longer there."""
    statement = select(_c.id).where(*choice.conditions(account_id)).order_by(_c.id).limit(limit).with_for_update()
    return list((await connection.execute(statement)).scalars())


async def correct_records(
    connection: AsyncConnection, account_id: UUID, ids: Collection[UUID], payload: Mapping[str, Any], now: datetime
) -> int:
    """The whole payload is new."""
    return await _update(connection, account_id, ids, {"payload": payload, "status": "open", "updated_at": now})


async def change_records(
    connection: AsyncConnection, account_id: UUID, ids: Collection[UUID], changes: Mapping[str, Any], now: datetime
) -> int:
    """These members of each payload are new. The others' values stay, digit for digit; their order may not."""
    changed = cast(cast(_c.payload, JSONB).op("||")(literal(changes, JSONB)), JSON)
    return await _update(connection, account_id, ids, {"payload": changed, "status": "open", "updated_at": now})


async def requeue_records(connection: AsyncConnection, account_id: UUID, ids: Collection[UUID], now: datetime) -> int:
    return await _update(connection, account_id, ids, {"status": "queued", "updated_at": now})


async def _update(
    connection: AsyncConnection, account_id: UUID, ids: Collection[UUID], values: Mapping[str, Any]
) -> int:
    own = Choice(ids=ids).conditions(account_id)
    return (await connection.execute(update(rejected_records).where(*own).values(dict(values)))).rowcount


async def delete_records(connection: AsyncConnection, account_id: UUID, ids: Collection[UUID]) -> int:
    own = Choice(ids=ids).conditions(account_id)
    return (await connection.execute(delete(rejected_records).where(*own))).rowcount


async def functions_with_records(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> set[str]:
    """Of the stream, by node id."""
    own = Choice(stream_id=stream_id).conditions(account_id)
    return set((await connection.execute(select(_c.node_id).where(*own).distinct())).scalars())


_DELETE_FORGOTTEN = text(
    """
    DELETE FROM rejected_records WHERE (account_id, id) IN (
        SELECT account_id, id FROM rejected_records
        WHERE updated_at < CAST(:now AS timestamptz) - CAST(:kept AS interval)
        ORDER BY updated_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)


async def delete_forgotten_records(connection: AsyncConnection, now: datetime, limit: int) -> int:
    """What nobody touched for six months, of all accounts (reference: usage engine 5). Returns how many."""
    return (
        await connection.execute(_DELETE_FORGOTTEN, {"now": now, "kept": REJECTED_RECORDS_KEPT, "limit": limit})
    ).rowcount
