"""The sandbox's clock and what is left to do at its present instant: SQL, over all accounts."""

from datetime import datetime, timedelta

from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.tables import sandbox_clock
from meterhouse.tables.runs import REJECTED_RECORDS_KEPT


async def read_ahead(connection: AsyncConnection) -> timedelta:
    """How far the clock is before the machine's."""
    found = (await connection.execute(select(sandbox_clock.c.ahead_microseconds))).scalar_one_or_none()
    return timedelta(microseconds=found or 0)


_MOVE = text(
    """
    INSERT INTO sandbox_clock AS clock (id, ahead_microseconds) VALUES (1, :microseconds)
    ON CONFLICT (id) DO UPDATE
        SET ahead_microseconds = greatest(clock.ahead_microseconds, excluded.ahead_microseconds)
    RETURNING ahead_microseconds
    """
)
_ADVANCE = text(
    """
    INSERT INTO sandbox_clock AS clock (id, ahead_microseconds) VALUES (1, :microseconds)
    ON CONFLICT (id) DO UPDATE SET ahead_microseconds = clock.ahead_microseconds + excluded.ahead_microseconds
    RETURNING ahead_microseconds
    """
)


async def move(connection: AsyncConnection, ahead: timedelta) -> timedelta:
    """Never back: of two who move it at once the later instant stands."""
    return await _set(connection, _MOVE, ahead)


async def advance(connection: AsyncConnection, by: timedelta) -> timedelta:
    """From wherever it stands: two who advance it at once add up."""
    return await _set(connection, _ADVANCE, by)


async def _set(connection: AsyncConnection, statement: object, by: timedelta) -> timedelta:
    microseconds = by // timedelta(microseconds=1)
    moved = await connection.execute(statement, {"microseconds": microseconds})  # type: ignore[call-overload]
    return timedelta(microseconds=moved.scalar_one())


_KICK = text(
    """
    UPDATE stream_runs SET next_step_at = least(next_step_at, :since), flushed_at = :flush_due
    WHERE (account_id, id) IN (
        SELECT account_id, id FROM stream_runs
        WHERE status = 'running' AND flushed_at < :since AND flushed_at > :flush_due
        FOR UPDATE SKIP LOCKED)
    """
)


async def kick_runs(connection: AsyncConnection, since: datetime, flush_due: datetime) -> None:
    """Runs that have not looked at what is due by time since `since` do it in their next step, which is due at once.

    Those that a worker is stepping are left out: to be kicked again.
    """
    await connection.execute(_KICK, {"since": since, "flush_due": flush_due})


_WORK_LEFT = text(
    """
    SELECT
        (SELECT count(*) FROM meters WHERE close_at <= :now) AS meters,
        (SELECT count(*) FROM stream_runs WHERE status = 'running'
            AND (kind = 'batch' OR flushed_at < :since OR next_step_at <= stepped_at)) AS runs,
        (SELECT count(*) FROM rejected_records
            WHERE updated_at < CAST(:now AS timestamptz) - CAST(:kept AS interval)) AS "forgotten records",
        (SELECT count(*) FROM deliveries AS d
            LEFT JOIN webhooks AS w ON w.account_id = d.account_id AND w.id = d.webhook_id
            WHERE d.status = 'pending' AND d.next_attempt_at <= :now
                AND w.status IS DISTINCT FROM 'DISABLED') AS deliveries
    """
)


async def work_left(connection: AsyncConnection, now: datetime, since: datetime) -> RowMapping:
    """Meters, deliveries and records that are due, and runs that have not been idle since `since`."""
    values = {"now": now, "since": since, "kept": REJECTED_RECORDS_KEPT}
    return (await connection.execute(_WORK_LEFT, values)).mappings().one()
