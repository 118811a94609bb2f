"""Sessions of Script aggregators: SQL. Every function takes the tenant and uses it in its WHERE."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Result, RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.tables import aggregation_sessions


def session_key(values: Sequence[str]) -> str:
    """Of the fields' values as texts, in the order of the rule: one is the key itself (reference: usage-engine 4.2).

    Several are their compact JSON array, spelled as JavaScript's JSON.stringify does, which no other values share.
    """
    return values[0] if len(values) == 1 else json.dumps(values, separators=(",", ":"), ensure_ascii=False)


async def find_session(connection: AsyncConnection, account_id: UUID, store_id: str, key: str) -> RowMapping | None:
    c = aggregation_sessions.c
    statement = select(c.created_at, c.data, c.meta, c.timeout_at, c.updated_at).where(
        c.account_id == account_id, c.store_id == store_id, c.session_key == key
    )
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()
