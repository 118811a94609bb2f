"""Accounts, clients and their secrets, and the buckets they open: SQL."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Executable, Row, Select, and_, delete, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.access.secrets import random_text
from meterhouse.tables import accounts, buckets, client_secrets, clients

AnyRow = Row[Any]

APPLICATION = "application"
API_KEY = "api_key"

# Any fixed number: processes that start at once wait here for one another.
_FIRST_START_LOCK = 5_120_774_631


async def lock_first_start(connection: AsyncConnection) -> None:
    """Until the end of the transaction, one process alone looks whether this installation is new."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_START_LOCK})


async def _first(connection: AsyncConnection, statement: Executable) -> AnyRow | None:
    row: AnyRow | None = (await connection.execute(statement)).first()
    return row


async def _one(connection: AsyncConnection, statement: Executable) -> AnyRow:
    row: AnyRow = (await connection.execute(statement)).one()
    return row


# --- accounts ----------------------------------------------------------------------------------------------------


async def any_account(connection: AsyncConnection) -> bool:
    return await _first(connection, select(accounts.c.account_id).limit(1)) is not None


async def create_account(connection: AsyncConnection, name: str, now: datetime) -> AnyRow:
    values = {"account_id": uuid4(), "name": name, "created_at": now}
    return await _one(connection, insert(accounts).values(values).returning(accounts))


async def list_accounts(connection: AsyncConnection) -> list[AnyRow]:
    return list(await connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.account_id)))


async def revoke_account(connection: AsyncConnection, account_id: UUID, now: datetime) -> AnyRow | None:
    """The first revocation's time stays."""
    statement = (
        update(accounts)
        .where(accounts.c.account_id == account_id)
        .values(revoked_at=func.coalesce(accounts.c.revoked_at, now))
        .returning(accounts)
    )
    return await _first(connection, statement)


# --- clients -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewClient:
    """An application, or an API key; `bucket_no` ties a key to one bucket."""

    account_id: UUID
    client_id: str
    kind: str
    name: str
    scopes: tuple[str, ...]
    bucket_no: int | None = None


async def create_client(connection: AsyncConnection, new: NewClient, secret_hash: bytes, now: datetime) -> None:
    values = {
        "account_id": new.account_id,
        "client_id": new.client_id,
        "kind": new.kind,
        "name": new.name,
        "scopes": list(new.scopes),
        "bucket_no": new.bucket_no,
        "created_at": now,
    }
    await connection.execute(insert(clients).values(values))
    await add_secret(connection, new.account_id, new.client_id, secret_hash, now)


async def list_clients(connection: AsyncConnection, kind: str, account_id: UUID | None) -> list[AnyRow]:
    """Each with `bucket_id`; of every account when none is given, which only the command line does."""
    statement = (
        select(clients, buckets.c.id.label("bucket_id"))
        .outerjoin(buckets, _same_bucket())
        .where(clients.c.kind == kind)
        .order_by(clients.c.created_at, clients.c.client_id)
    )
    if account_id is not None:
        statement = statement.where(clients.c.account_id == account_id)
    return list(await connection.execute(statement))


async def find_client(connection: AsyncConnection, kind: str, client_id: str) -> AnyRow | None:
    """By its id alone: for the operator, who names no account."""
    statement = select(clients).where(clients.c.client_id == client_id, clients.c.kind == kind)
    return await _first(connection, statement)


async def revoke_client(connection: AsyncConnection, account_id: UUID, client_id: str, now: datetime) -> AnyRow:
    statement = (
        update(clients)
        .where(clients.c.account_id == account_id, clients.c.client_id == client_id)
        .values(revoked_at=func.coalesce(clients.c.revoked_at, now))
        .returning(clients)
    )
    return await _one(connection, statement)


async def add_secret(
    connection: AsyncConnection, account_id: UUID, client_id: str, secret_hash: bytes, now: datetime
) -> None:
    values = {"account_id": account_id, "client_id": client_id, "secret_hash": secret_hash, "created_at": now}
    await connection.execute(insert(client_secrets).values(values))


async def expire_secrets(connection: AsyncConnection, account_id: UUID, client_id: str, expires_at: datetime) -> None:
    """None of the client's present secrets lives longer than this; one that ends sooner still does."""
    statement = (
        update(client_secrets)
        .where(client_secrets.c.account_id == account_id, client_secrets.c.client_id == client_id)
        .values(expires_at=func.least(client_secrets.c.expires_at, expires_at))
    )
    await connection.execute(statement)


async def delete_expired_secrets(connection: AsyncConnection, now: datetime) -> int:
    """Of every account: this is housekeeping. Returns how many."""
    return (await connection.execute(delete(client_secrets).where(client_secrets.c.expires_at < now))).rowcount


# --- who calls ---------------------------------------------------------------------------------------------------


def _live_clients(*more: Any) -> Select[Any]:
    return (
        select(clients.c.account_id, clients.c.client_id, clients.c.scopes, clients.c.bucket_no, *more)
        .join(accounts, accounts.c.account_id == clients.c.account_id)
        .where(clients.c.revoked_at.is_(None), accounts.c.revoked_at.is_(None))
    )


def _with_secret(statement: Select[Any], kind: str, secret_hash: bytes, now: datetime) -> Select[Any]:
    same_client = and_(
        client_secrets.c.account_id == clients.c.account_id, client_secrets.c.client_id == clients.c.client_id
    )
    expires_at = client_secrets.c.expires_at
    return statement.join(client_secrets, same_client).where(
        clients.c.kind == kind,
        client_secrets.c.secret_hash == secret_hash,
        or_(expires_at.is_(None), expires_at > now),
    )


async def find_live_client_by_key(connection: AsyncConnection, key_hash: bytes, now: datetime) -> AnyRow | None:
    """The API key's client, with the key's own `expires_at`."""
    statement = _with_secret(_live_clients(client_secrets.c.expires_at), API_KEY, key_hash, now)
    return await _first(connection, statement)


async def find_live_application(connection: AsyncConnection, account_id: UUID, client_id: str) -> AnyRow | None:
    statement = _live_clients().where(
        clients.c.account_id == account_id, clients.c.client_id == client_id, clients.c.kind == APPLICATION
    )
    return await _first(connection, statement)


async def log_in(connection: AsyncConnection, client_id: str, secret_hash: bytes, now: datetime) -> AnyRow | None:
    """The live application with this id and this unexpired secret."""
    statement = _with_secret(_live_clients(), APPLICATION, secret_hash, now).where(clients.c.client_id == client_id)
    return await _first(connection, statement)


# --- buckets, as far as accounts and keys need them --------------------------------------------------------------


def _same_bucket() -> ColumnElement[bool]:
    return and_(buckets.c.account_id == clients.c.account_id, buckets.c.bucket_no == clients.c.bucket_no)


async def create_bucket(connection: AsyncConnection, account_id: UUID, name: str | None, now: datetime) -> AnyRow:
    """The whole row. The id is Zuplo's shape: `mtr_` and 24 characters."""
    values = {
        "account_id": account_id,
        "id": "mtr_" + random_text(24),
        "name": name,
        "created_at": now,
        "updated_at": now,
    }
    return await _one(connection, insert(buckets).values(values).returning(buckets))


async def list_buckets(connection: AsyncConnection, account_id: UUID | None) -> list[AnyRow]:
    """Live ones, oldest first; of every account when none is given, which only the command line does."""
    statement = select(buckets).where(buckets.c.deleted_at.is_(None)).order_by(buckets.c.bucket_no)
    if account_id is not None:
        statement = statement.where(buckets.c.account_id == account_id)
    return list(await connection.execute(statement))


async def get_bucket(connection: AsyncConnection, account_id: UUID, bucket_id: str) -> AnyRow | None:
    statement = select(buckets).where(
        buckets.c.account_id == account_id, buckets.c.id == bucket_id, buckets.c.deleted_at.is_(None)
    )
    return await _first(connection, statement)


async def find_bucket(connection: AsyncConnection, bucket_id: str) -> AnyRow | None:
    """By its id alone: for the operator, who names no account."""
    statement = select(buckets).where(buckets.c.id == bucket_id, buckets.c.deleted_at.is_(None))
    return await _first(connection, statement)


async def delete_bucket(connection: AsyncConnection, account_id: UUID, bucket_id: str, now: datetime) -> AnyRow | None:
    """Marks it deleted; None when there is no live one to delete."""
    statement = (
        update(buckets)
        .where(buckets.c.account_id == account_id, buckets.c.id == bucket_id, buckets.c.deleted_at.is_(None))
        .values(deleted_at=now, updated_at=now)
        .returning(buckets)
    )
    return await _first(connection, statement)
