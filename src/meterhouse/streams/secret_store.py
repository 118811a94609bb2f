"""Secrets of accounts, with which streams log in elsewhere: SQL. Every function takes the tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Result, RowMapping, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.tables import account_secrets, accounts

MAX_SECRETS = 100

_c = account_secrets.c
_shown = (_c.id, _c.name, _c.type, _c.created_at)


@dataclass(frozen=True, slots=True)
class NewSecret:
    """`type`: oauth2, basic, bearer or signing. `encrypted`: the other members, as JSON."""

    id: UUID
    name: str
    type: str
    encrypted: bytes


async def create_secret(connection: AsyncConnection, account_id: UUID, new: NewSecret, now: datetime) -> RowMapping:
    """Raises ConflictError for an id or a name that is taken and for one secret too many."""
    # Creates of one account wait for one another, so that they are counted.
    own = accounts.c.account_id == account_id
    await connection.execute(select(accounts.c.account_id).where(own).with_for_update(key_share=True))
    counted = select(func.count()).select_from(account_secrets).where(_c.account_id == account_id)
    if (await connection.execute(counted)).scalar_one() >= MAX_SECRETS:
        raise ConflictError(f"the account has {MAX_SECRETS} secrets, which is the most it may have")
    values = {"account_id": account_id, "id": new.id, "name": new.name, "type": new.type}
    values |= {"encrypted": new.encrypted, "created_at": now}
    statement = insert(account_secrets).values(values).on_conflict_do_nothing().returning(*_shown)
    created: Result[Any] = await connection.execute(statement)
    row = created.mappings().first()
    if row is None:
        raise ConflictError("the account has a secret with this id or this name")
    return row


async def list_secrets(connection: AsyncConnection, account_id: UUID) -> Sequence[RowMapping]:
    """All of them, the oldest first; what is secret stays where it is."""
    statement = select(*_shown).where(_c.account_id == account_id).order_by(_c.created_at, _c.id)
    return (await connection.execute(statement)).mappings().all()


async def delete_secret(connection: AsyncConnection, account_id: UUID, secret_id: UUID) -> int:
    statement = delete(account_secrets).where(_c.account_id == account_id, _c.id == secret_id)
    return (await connection.execute(statement)).rowcount


async def find_encrypted(
    connection: AsyncConnection, account_id: UUID, secret_type: str, secret_id: UUID | None
) -> bytes | None:
    """Of the secret with this id or, without one, of the oldest of the type."""
    statement = select(_c.encrypted).where(*_chosen(account_id, secret_type, secret_id))
    return (await connection.execute(statement.order_by(_c.created_at, _c.id).limit(1))).scalar_one_or_none()


async def find_secret_id(
    connection: AsyncConnection, account_id: UUID, secret_type: str, secret_id: UUID | None
) -> UUID | None:
    """As find_encrypted, for what is used later."""
    statement = select(_c.id).where(*_chosen(account_id, secret_type, secret_id))
    return (await connection.execute(statement.order_by(_c.created_at, _c.id).limit(1))).scalar_one_or_none()


def _chosen(account_id: UUID, secret_type: str, secret_id: UUID | None) -> list[ColumnElement[bool]]:
    own = [_c.account_id == account_id, _c.type == secret_type]
    return own if secret_id is None else [*own, _c.id == secret_id]
