"""Sessions of Script aggregators: SQL. Every function takes the tenant and uses it in its WHERE."""

from typing import Any
from uuid import UUID

from sqlalchemy import Result, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.tables import aggregation_sessions


async def find_session(connection: AsyncConnection, account_id: UUID, store_id: str, key: str) -> RowMapping | None:
    c = aggregation_sessions.c
    statement = select(c.created_at, c.data, c.meta, c.timeout_at, c.updated_at).where(
        c.account_id == account_id, c.store_id == store_id, c.session_key == key
    )
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()
