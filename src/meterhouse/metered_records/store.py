"""The outbox of meters: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.rules.closing import Sent
from meterhouse.tables import metered_records
from meterhouse.webhooks.store import add_deliveries

_c = metered_records.c
_encode = msgspec.json.Encoder(decimal_format="number").encode

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
    values = {"account_id": account_id, "now": now, "rows": _encode(rows).decode()}
    await connection.execute(_INSERT, values)
    await add_deliveries(connection, account_id, (first, first + len(sent) - 1), now)


async def take_awaiting(
    connection: AsyncConnection, account_id: UUID, meter_key: str, limit: int
) -> Sequence[dict[str, Any]]:
    """What the stream with this meter key has not seen, the oldest first; it counts as seen with this transaction."""
    waiting = select(_c.record_no).where(_c.account_id == account_id, _c.meter_key == meter_key, _c.awaits_stream)
    waiting = waiting.order_by(_c.record_no).limit(limit).with_for_update()
    statement = (
        update(metered_records)
        .where(_c.account_id == account_id, _c.record_no.in_(waiting))
        .values(awaits_stream=False)
        .returning(_c.record_no, _c.record)
    )
    rows = sorted((await connection.execute(statement)).all(), key=lambda row: row.record_no)
    return [row.record for row in rows]


async def list_records(connection: AsyncConnection, account_id: UUID, after: int, limit: int) -> Sequence[RowMapping]:
    """In order, behind the number `after`."""
    statement = select(_c.record_no, _c.kind, _c.record, _c.recorded_at).where(
        _c.account_id == account_id, _c.record_no > after
    )
    return (await connection.execute(statement.order_by(_c.record_no).limit(limit))).mappings().all()


async def list_periods(
    connection: AsyncConnection, account_id: UUID, meter_id: UUID, limit: int, skip: int
) -> Sequence[RowMapping]:
    """Closed periods of one meter, the oldest first; also of one that is gone."""
    own = (_c.account_id == account_id, _c.meter_id == meter_id, _c.kind == "reset")
    statement = select(_c.record, _c.statement).where(*own).order_by(_c.period_start)
    return (await connection.execute(statement.limit(limit).offset(skip))).mappings().all()
