"""What scripts keep under keys of their own (persist, sharedPersist): SQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Result, Text, any_, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.tables import stream_persist

SHARED = ""
"""The scope of all scripts of an account."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def scope_of(stream_id: UUID, node_id: str) -> str:
    """The scope of one function of one stream."""
    return f"{stream_id}/{node_id}"


async def read_values(
    connection: AsyncConnection, account_id: UUID, scope: str, keys: Sequence[str]
) -> Mapping[str, Any]:
    """The values there are. Shared ones are locked until the step ends, so that none is changed that was read.

    A key without a value cannot be locked: of two steps that set it for the first time the later one wins.
    """
    c = stream_persist.c
    statement = (
        select(c.key, c.value)
        .where(c.account_id == account_id, c.scope == scope, c.key == _any_of(keys))
        .order_by(c.key)
    )
    if scope == SHARED:
        statement = statement.with_for_update()
    rows: Result[Any] = await connection.execute(statement)
    return {row.key: row.value for row in rows}


# In key order, so that two steps that write the same keys wait for each other instead of deadlocking.
_WRITE = text(
    """
    INSERT INTO stream_persist (account_id, scope, key, value)
    SELECT :account_id, :scope, key, coalesce(value, 'null') -- a recordset has NULL where JSON has null
    FROM json_to_recordset(CAST(:rows AS json)) AS given (key text, value jsonb)
    ORDER BY key
    ON CONFLICT (account_id, scope, key) DO UPDATE SET value = excluded.value
    """
)


async def write_values(connection: AsyncConnection, account_id: UUID, scope: str, values: Mapping[str, Any]) -> None:
    rows = [{"key": key, "value": value} for key, value in values.items()]
    await connection.execute(_WRITE, {"account_id": account_id, "scope": scope, "rows": _encode(rows).decode()})


async def delete_values(connection: AsyncConnection, account_id: UUID, scope: str, keys: Sequence[str]) -> None:
    c = stream_persist.c
    await connection.execute(
        delete(stream_persist).where(c.account_id == account_id, c.scope == scope, c.key == _any_of(keys))
    )


def _any_of(keys: Iterable[str]) -> ColumnElement[Any]:
    return any_(bindparam("keys", list(keys), ARRAY(Text)))
