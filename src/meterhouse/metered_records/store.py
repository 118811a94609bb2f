"""The outbox of meters: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    RowMapping,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    cast,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.paging import Page
from meterhouse.rules.closing import Sent
from meterhouse.tables import metered_records
from meterhouse.webhooks.store import add_deliveries
from meterhouse.wire import encode_plain

_c = metered_records.c

# From here to the end of the transaction nobody else of the account gets numbers: they become visible in their order.
_NEXT_NUMBERS = text(
    """
    INSERT INTO metered_record_heads AS head (account_id, last_no) VALUES (:account_id, :count)
    ON CONFLICT (account_id) DO UPDATE SET last_no = head.last_no + excluded.last_no
    RETURNING last_no
    """
)
_INSERT = text(
    """
    INSERT INTO metered_records
        (account_id, record_no, kind, meter_id, meter_key, period_start, record, recorded_at, awaits_stream, statement)
    SELECT :account_id, record_no, kind, meter_id, meter_key, period_start, record, :now, awaits_stream, statement
    FROM json_to_recordset(CAST(:rows AS json)) AS given
        (record_no bigint, kind text, meter_id uuid, meter_key text, period_start timestamptz, record json,
         awaits_stream boolean, statement json)
    """
)


async def add_records(
    connection: AsyncConnection, account_id: UUID, sent: Sequence[Sent], now: datetime, *, awaits_stream: bool
) -> None:
    """Records in order, with their deliveries to webhooks. To be the last that a transaction locks.

    `awaits_stream`: the stream of their Meter processor has not seen them.
    """
    if not sent:
        return
    numbered = await connection.execute(_NEXT_NUMBERS, {"account_id": account_id, "count": len(sent)})
    first = numbered.scalar_one() - len(sent) + 1
    rows = [
        {
            "record_no": record_no,
            "kind": one.kind,
            "meter_id": one.meter.id,
            "meter_key": one.meter.meter_key,
            "period_start": one.period_start,
            "record": one.record,
            "awaits_stream": awaits_stream,
            "statement": one.statement,
        }
        for record_no, one in enumerate(sent, first)
    ]
    values = {"account_id": account_id, "now": now, "rows": encode_plain(rows).decode()}
    await connection.execute(_INSERT, values)
    await add_deliveries(connection, account_id, (first, first + len(sent) - 1), now)


async def take_awaiting(
    connection: AsyncConnection, account_id: UUID, meter_key: str, limit: int
) -> Sequence[dict[str, Any]]:
    """What the stream with this meter key has not seen, the oldest first; it counts as seen with this transaction."""
    return await _take(connection, account_id, _awaiting(account_id, meter_key).order_by(_c.record_no).limit(limit))


async def take_awaiting_of(
    connection: AsyncConnection, account_id: UUID, meter_key: str, meter_ids: Collection[UUID]
) -> Sequence[dict[str, Any]]:
    """All of it, of these meters."""
    ids = bindparam("ids", list(meter_ids), type_=ARRAY(Uuid))
    return await _take(connection, account_id, _awaiting(account_id, meter_key).where(_c.meter_id == any_(ids)))


def _awaiting(account_id: UUID, meter_key: str) -> Select[Any]:
    own = (_c.account_id == account_id, _c.meter_key == meter_key, _c.awaits_stream)
    return select(_c.record_no).where(*own).with_for_update()


async def _take(connection: AsyncConnection, account_id: UUID, waiting: Select[Any]) -> Sequence[dict[str, Any]]:
    statement = (
        update(metered_records)
        .where(_c.account_id == account_id, _c.record_no.in_(waiting))
        .values(awaits_stream=False)
        .returning(_c.record_no, _c.record)
    )
    rows = sorted((await connection.execute(statement)).all(), key=lambda row: row.record_no)
    return [row.record for row in rows]


async def list_records(connection: AsyncConnection, account_id: UUID, after: int, limit: int) -> Sequence[RowMapping]:
    """In order, behind the number `after`; `record` as the text that it was stored as."""
    shown = (_c.record_no, _c.kind, _c.recorded_at, _as_text(_c.record))
    statement = select(*shown).where(_c.account_id == account_id, _c.record_no > after)
    return (await connection.execute(statement.order_by(_c.record_no).limit(limit))).mappings().all()


async def list_periods(
    connection: AsyncConnection, account_id: UUID, meter_id: UUID, page: Page
) -> Sequence[RowMapping]:
    """Closed periods of one meter, the oldest first; also of one that is gone. The JSON as text, as it was stored."""
    statement = select(_as_text(_c.record), _as_text(_c.statement)).where(_periods_of(account_id, meter_id))
    statement = statement.order_by(_c.period_start).limit(page.limit).offset(page.skip)
    return (await connection.execute(statement)).mappings().all()


async def has_periods(connection: AsyncConnection, account_id: UUID, meter_id: UUID) -> bool:
    return (
        await connection.execute(select(_c.record_no).where(_periods_of(account_id, meter_id)).limit(1))
    ).first() is not None


def _periods_of(account_id: UUID, meter_id: UUID) -> ColumnElement[bool]:
    # The kind as a text of the statement: as a parameter it would hide that the partial index fits.
    return and_(_c.account_id == account_id, _c.meter_id == meter_id, text("kind = 'reset'"))


def _as_text(column: Column[Any]) -> ColumnElement[str]:
    return cast(column, Text).label(column.name)
