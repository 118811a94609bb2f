"""How long what streams leave behind is kept: SQL. These jobs are for all accounts; each round deletes so many rows."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.streams.function import REAL_TIME

INBOX_KEPT = timedelta(days=7)
"""Of what every deployed stream has read (reference: usage engine 3); what one has not read is kept until it has."""

LINES_KEPT = timedelta(days=30)
"""Of the records that reached writers, and of log lines."""

RUNS_KEPT = timedelta(days=180)
"""After their end. They are the usage audit (reference: usage engine 5)."""

# The oldest row of a collector tells at a glance whether there is anything to do: arrival numbers grow with time.
_DELETE_CONSUMED = text(
    """
    WITH due AS MATERIALIZED (
        SELECT account_id, id FROM collectors c
        WHERE (
            SELECT received_at FROM inbox i
            WHERE i.account_id = c.account_id AND i.collector_id = c.id ORDER BY seq LIMIT 1
        ) < :before
    ),
    reader AS (
        SELECT v.account_id, v.stream_id, lower(node -> 'params' ->> 'collectorId') AS collector_id
        FROM stream_versions v, jsonb_array_elements(CAST(v.document AS jsonb) -> 'nodes') node
        WHERE v.deployed AND v.account_id IN (SELECT account_id FROM due) AND node ->> 'type' = :real_time
    ),
    consumed AS (
        SELECT due.account_id, due.id, min(coalesce(position, -1)) AS seq
        FROM due
        JOIN reader ON reader.account_id = due.account_id AND reader.collector_id = CAST(due.id AS text)
        CROSS JOIN LATERAL (
            SELECT max(last_seq) AS position FROM collector_reads r
            WHERE r.account_id = due.account_id AND r.stream_id = reader.stream_id AND r.collector_id = due.id
        ) AS read
        GROUP BY due.account_id, due.id
    ),
    gone AS (
        SELECT due.account_id, due.id, old.seq
        FROM due
        LEFT JOIN consumed ON consumed.account_id = due.account_id AND consumed.id = due.id
        CROSS JOIN LATERAL (
            SELECT seq, received_at FROM inbox i
            WHERE i.account_id = due.account_id AND i.collector_id = due.id
                AND (consumed.seq IS NULL OR i.seq <= consumed.seq)
            ORDER BY seq LIMIT :limit
        ) AS old
        WHERE old.received_at < :before
        LIMIT :limit
    )
    DELETE FROM inbox USING gone
    WHERE inbox.account_id = gone.account_id AND inbox.collector_id = gone.id AND inbox.seq = gone.seq
    """
)


async def delete_consumed(connection: AsyncConnection, now: datetime, limit: int) -> int:
    """What was sent to collectors, when it is old and read. Returns how many rows, as the others do."""
    values = {"before": now - INBOX_KEPT, "limit": limit, "real_time": REAL_TIME}
    return (await connection.execute(_DELETE_CONSUMED, values)).rowcount


_DELETE_OUTPUTS = text(
    """
    DELETE FROM stream_outputs WHERE (account_id, run_id, line_no) IN (
        SELECT account_id, run_id, line_no FROM stream_outputs
        WHERE reached_at < :before ORDER BY reached_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)


async def delete_old_outputs(connection: AsyncConnection, now: datetime, limit: int) -> int:
    return (await connection.execute(_DELETE_OUTPUTS, {"before": now - LINES_KEPT, "limit": limit})).rowcount


_DELETE_LOG = text(
    """
    DELETE FROM stream_log WHERE (account_id, run_id, line_no) IN (
        SELECT account_id, run_id, line_no FROM stream_log
        WHERE logged_at < :before ORDER BY logged_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)


async def delete_old_log(connection: AsyncConnection, now: datetime, limit: int) -> int:
    return (await connection.execute(_DELETE_LOG, {"before": now - LINES_KEPT, "limit": limit})).rowcount


_DELETE_RUNS = text(
    """
    DELETE FROM stream_runs WHERE (account_id, id) IN (
        SELECT account_id, id FROM stream_runs
        WHERE ended_at < :before ORDER BY ended_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)


async def delete_old_runs(connection: AsyncConnection, now: datetime, limit: int) -> int:
    return (await connection.execute(_DELETE_RUNS, {"before": now - RUNS_KEPT, "limit": limit})).rowcount


_FORGET = (
    text(
        """
        DELETE FROM aggregation_sessions WHERE account_id = :account_id AND store_id IN (
            SELECT store_id FROM stream_nodes WHERE account_id = :account_id AND stream_id = :stream_id)
        """
    ),
    text("DELETE FROM stream_dedup_keys WHERE account_id = :account_id AND stream_id = :stream_id"),
    text("DELETE FROM stream_persist WHERE account_id = :account_id AND starts_with(scope, :stream_id || '/')"),
)


async def forget_memory(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> None:
    """What the functions of a stream that is about to be deleted remember beside its runs."""
    for statement in _FORGET:
        await connection.execute(statement, {"account_id": account_id, "stream_id": stream_id})
