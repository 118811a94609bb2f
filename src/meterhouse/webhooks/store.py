"""Webhooks and their deliveries: SQL. Every function takes the tenant and uses it in its WHERE."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_ADD_DELIVERIES = text(
    """
    INSERT INTO deliveries
        (account_id, message_id, webhook_id, record_no, order_key, status, attempts, created_at, next_attempt_at)
    SELECT r.account_id, 'msg_' || replace(CAST(gen_random_uuid() AS text), '-', ''), w.id, r.record_no,
        CAST(r.meter_id AS text), 'pending', 0, :now, :now
    FROM metered_records AS r JOIN webhooks AS w
        ON w.account_id = r.account_id AND w.status = 'ACTIVE' AND r.kind = ANY (w.types)
        AND (w.meter_keys IS NULL OR r.meter_key = ANY (w.meter_keys))
    WHERE r.account_id = :account_id AND r.record_no BETWEEN :first AND :last
    ORDER BY r.record_no
    """
)


async def add_deliveries(
    connection: AsyncConnection, account_id: UUID, numbers: tuple[int, int], now: datetime
) -> None:
    """Of the metered records with these numbers, first and last, to every webhook that wants them."""
    values = {"account_id": account_id, "first": numbers[0], "last": numbers[1], "now": now}
    await connection.execute(_ADD_DELIVERIES, values)
