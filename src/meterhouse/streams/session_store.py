"""Sessions of Script aggregators, as the run reads and writes them: SQL."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Result, RowMapping, Text, any_, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.tables import aggregation_sessions

MAX_KEY_BYTES = 2048

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Store:
    """An aggregation store: all sessions of one function. The id is what the lookup API takes."""

    account_id: UUID
    id: str


@dataclass(slots=True)
class Session:
    key: str
    created_at: datetime
    data: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    timeout_at: datetime | None = None
    is_stored: bool = False
    is_removed: bool = False


def _session(row: RowMapping) -> Session:
    return Session(row["session_key"], row["created_at"], row["data"], row["meta"], row["timeout_at"], is_stored=True)


_READ = ("session_key", "created_at", "data", "meta", "timeout_at")


async def lock_sessions(connection: AsyncConnection, store: Store, keys: Iterable[str]) -> dict[str, Session]:
    """Those that exist, by key. In key order, so that two steps wait for each other instead of deadlocking."""
    c = aggregation_sessions.c
    statement = (
        select(*(c[name] for name in _READ))
        .where(
            c.account_id == store.account_id,
            c.store_id == store.id,
            c.session_key == any_(bindparam("keys", sorted(keys), ARRAY(Text))),
        )
        .order_by(c.session_key)
        .with_for_update()
    )
    rows: Result[Any] = await connection.execute(statement)
    return {row["session_key"]: _session(row) for row in rows.mappings()}


async def lock_due_sessions(connection: AsyncConnection, store: Store, now: datetime, limit: int) -> list[Session]:
    """Whose time-out has passed, the oldest first; not those that another step is busy with."""
    c = aggregation_sessions.c
    statement = (
        select(*(c[name] for name in _READ))
        .where(c.account_id == store.account_id, c.store_id == store.id, c.timeout_at <= now)
        .order_by(c.timeout_at, c.session_key)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows: Result[Any] = await connection.execute(statement)
    return [_session(row) for row in rows.mappings()]


_WRITE = text(
    """
    INSERT INTO aggregation_sessions
        (account_id, store_id, session_key, data, meta, timeout_at, created_at, updated_at)
    SELECT :account_id, :store_id, key, data, meta, timeout_at, created_at, :now
    FROM json_to_recordset(CAST(:rows AS json)) AS given
        (key text, data jsonb, meta jsonb, timeout_at timestamptz, created_at timestamptz)
    ORDER BY key
    ON CONFLICT (account_id, store_id, session_key) DO UPDATE SET
        data = excluded.data, meta = excluded.meta, timeout_at = excluded.timeout_at,
        created_at = excluded.created_at, updated_at = excluded.updated_at
    """
)


async def write_sessions(connection: AsyncConnection, store: Store, sessions: Iterable[Session], now: datetime) -> None:
    rows = [
        {
            "key": session.key,
            "data": session.data,
            "meta": session.meta,
            "timeout_at": session.timeout_at,
            "created_at": session.created_at,
        }
        for session in sessions
    ]
    values = {"account_id": store.account_id, "store_id": store.id, "now": now, "rows": _encode(rows).decode()}
    await connection.execute(_WRITE, values)


async def delete_sessions(connection: AsyncConnection, store: Store, keys: Iterable[str]) -> None:
    c = aggregation_sessions.c
    gone = delete(aggregation_sessions).where(c.account_id == store.account_id, c.store_id == store.id)
    await connection.execute(gone.where(c.session_key == any_(bindparam("keys", sorted(keys), ARRAY(Text)))))
