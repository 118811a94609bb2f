"""What workers have still to do, as gauges: read from the database when asked for, since workers serve no HTTP."""

import asyncio
import logging
import math

from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock

_log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5

_GAUGES = {
    "periods_due": Gauge("meterhouse_periods_due", "Meters whose period is over and not closed."),
    "period_lag": Gauge("meterhouse_period_lag_seconds", "For how long the longest due of them has been due."),
    "periods_postponed": Gauge("meterhouse_periods_postponed", "Meters whose period could not be closed."),
    "pending": Gauge("meterhouse_deliveries_pending", "Deliveries that wait for their time, their turn or an answer."),
    "parked": Gauge("meterhouse_deliveries_parked", "Deliveries that have failed for a day, or for good."),
    "delivery_lag": Gauge(
        "meterhouse_delivery_lag_seconds", "For how long the longest due of the pending deliveries has been due."
    ),
}

# What is due for a webhook that is switched off does not lag.
_READ = text(
    """
    SELECT m.*, d.* FROM (
        SELECT count(*) AS periods_due,
            coalesce(extract(epoch FROM CAST(:now AS timestamptz) - min(close_at)), 0) AS period_lag,
            (SELECT count(*) FROM meters WHERE close_error IS NOT NULL) AS periods_postponed
        FROM meters WHERE close_at <= :now) AS m
    CROSS JOIN (
        SELECT count(*) FILTER (WHERE d.status = 'pending') AS pending,
            count(*) FILTER (WHERE d.status = 'parked') AS parked,
            coalesce(extract(epoch FROM CAST(:now AS timestamptz) - min(d.next_attempt_at) FILTER (
                WHERE d.next_attempt_at <= :now AND w.status IS DISTINCT FROM 'DISABLED')), 0) AS delivery_lag
        FROM deliveries AS d LEFT JOIN webhooks AS w ON w.account_id = d.account_id AND w.id = d.webhook_id) AS d
    """
)


async def gauge_backlog(engine: AsyncEngine) -> None:
    """NaN where the database cannot tell."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), engine.connect() as connection:
            found = dict((await connection.execute(_READ, {"now": clock.now()})).mappings().one())
    except (SQLAlchemyError, OSError) as error:  # TimeoutError is one of the latter
        _log.warning("the backlog cannot be measured: %s", str(error).partition("\n")[0])
        found = dict.fromkeys(_GAUGES, math.nan)
    for name, gauge in _GAUGES.items():
        gauge.set(float(found[name]))
