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
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    select,
    text,
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
    WITH stored AS (
        INSERT INTO metered_records
            (account_id, record_no, kind, meter_id, meter_key, period_start, record, recorded_at, statement)
        SELECT :account_id, record_no, kind, meter_id, meter_key, period_start, record, :now, statement
        FROM json_to_recordset(CAST(:rows AS json)) AS given
            (record_no bigint, kind text, meter_id uuid, meter_key text, period_start timestamptz, record json,
             statement json)
        RETURNING account_id, meter_key, record_no, meter_id
    )
    INSERT INTO awaiting_records (account_id, meter_key, record_no, meter_id)
    SELECT account_id, meter_key, record_no, meter_id FROM stored WHERE :awaits_stream
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
            "statement": one.statement,
        }
        for record_no, one in enumerate(sent, first)
    ]
    values = {"account_id": account_id, "now": now, "rows": encode_plain(rows).decode()}
    await connection.execute(_INSERT, values | {"awaits_stream": awaits_stream})
    await add_deliveries(connection, account_id, (first, first + len(sent) - 1), now)


_TAKE = """
    WITH taken AS (
        DELETE FROM awaiting_records WHERE account_id = :account_id AND meter_key = :meter_key AND {}
        RETURNING account_id, record_no
    )
    SELECT r.record FROM taken JOIN metered_records AS r USING (account_id, record_no) ORDER BY record_no
"""
_TAKE_OLDEST = text(
    _TAKE.format(
        """
        record_no IN (SELECT record_no FROM awaiting_records WHERE account_id = :account_id
            AND meter_key = :meter_key ORDER BY record_no LIMIT :limit FOR UPDATE)
        """
    )
)
_TAKE_OF = text(_TAKE.format("meter_id = ANY (:meter_ids)")).bindparams(bindparam("meter_ids", type_=ARRAY(Uuid)))


async def take_awaiting(
    connection: AsyncConnection, account_id: UUID, meter_key: str, limit: int
) -> Sequence[dict[str, Any]]:
    """What the stream with this meter key has not seen, the oldest first; it counts as seen with this transaction."""
    values = {"account_id": account_id, "meter_key": meter_key, "limit": limit}
    return list((await connection.execute(_TAKE_OLDEST, values)).scalars())


async def take_awaiting_of(
    connection: AsyncConnection, account_id: UUID, meter_key: str, meter_ids: Collection[UUID]
) -> Sequence[dict[str, Any]]:
    """All of it, of these meters."""
    values = {"account_id": account_id, "meter_key": meter_key, "meter_ids": list(meter_ids)}
    return list((await connection.execute(_TAKE_OF, values)).scalars())


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
