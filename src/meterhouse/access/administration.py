"""What the operator's commands do to accounts, applications, API keys, buckets and signing keys.

Each returns what is printed: a dict, or a list of them, with the JSON's member names. A secret is in it only when
it was made just now.
"""

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.access import signing, store
from meterhouse.access.operations import ALL_SCOPES, BUCKET_SCOPES
from meterhouse.access.secrets import Secrets, new_api_key, new_client_id, new_client_secret, open_secrets
from meterhouse.errors import BadRequestError, NotFoundError
from meterhouse.settings import Settings

Result = dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Work:
    """What a command works with: one transaction, committed when it succeeds."""

    arguments: argparse.Namespace
    settings: Settings
    connection: AsyncConnection
    now: datetime

    def secrets(self) -> Secrets:
        return open_secrets(self.settings)


Command = Callable[[Work], Awaitable[Result]]


# --- what is asked for -------------------------------------------------------------------------------------------


async def _account(work: Work) -> UUID:
    """The one that --account names, or the only live one."""
    live = [row.account_id for row in await store.list_accounts(work.connection) if row.revoked_at is None]
    given: UUID | None = work.arguments.account
    if given is None and len(live) == 1:
        given = live[0]
    if given is None:
        raise BadRequestError(f"name the account with --account: there are {len(live)} live ones")
    if given not in live:
        raise NotFoundError(f"no live account has the id {given}")
    return given


async def _client(work: Work, kind: str) -> store.AnyRow:
    row = await store.find_client(work.connection, kind, work.arguments.id)
    if row is None:
        raise NotFoundError(f"no {_NOUNS[kind]} has the id {work.arguments.id}")
    return row


def _scopes(work: Work, allowed: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    wanted = (work.arguments.scopes or "").split()
    unknown = [scope for scope in wanted if scope not in allowed]
    if unknown:
        raise BadRequestError(f"{unknown[0]!r} is not a scope it can have; those are: {' '.join(allowed)}")
    return tuple(sorted(set(wanted))) or default


# --- what is shown -----------------------------------------------------------------------------------------------

_NOUNS = {store.APPLICATION: "application", store.API_KEY: "API key"}
_ID_MEMBERS = {store.APPLICATION: "clientId", store.API_KEY: "apiKeyId"}
_SECRET_MEMBERS = {store.APPLICATION: "clientSecret", store.API_KEY: "apiKey"}


def _instant(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z") if instant else None


def _show_account(row: store.AnyRow) -> dict[str, Any]:
    return {
        "accountId": str(row.account_id),
        "name": row.name,
        "createdAt": _instant(row.created_at),
        "revokedAt": _instant(row.revoked_at),
    }


def _show_client(row: store.AnyRow) -> dict[str, Any]:
    shown = {_ID_MEMBERS[row.kind]: row.client_id, "accountId": str(row.account_id), "name": row.name}
    if row.kind == store.API_KEY:
        shown["bucketId"] = row.bucket_id
    return shown | {
        "scopes": row.scopes,
        "createdAt": _instant(row.created_at),
        "revokedAt": _instant(row.revoked_at),
    }


def _show_bucket(row: store.AnyRow) -> dict[str, Any]:
    return {
        "bucketId": row.id,
        "accountId": str(row.account_id),
        "name": row.name,
        "createdAt": _instant(row.created_at),
    }


# --- accounts ----------------------------------------------------------------------------------------------------


async def create_account(work: Work) -> Result:
    """With its default bucket, so that a key of the account has somewhere to send events."""
    row = await store.create_account(work.connection, work.arguments.name, work.now)
    bucket = await store.create_bucket(work.connection, row.account_id, "default", work.now)
    return _show_account(row) | {"bucketId": bucket.id}


async def list_accounts(work: Work) -> Result:
    return [_show_account(row) for row in await store.list_accounts(work.connection)]


async def revoke_account(work: Work) -> Result:
    row = await store.revoke_account(work.connection, work.arguments.id, work.now)
    if row is None:
        raise NotFoundError(f"no account has the id {work.arguments.id}")
    return _show_account(row)


# --- applications and API keys -----------------------------------------------------------------------------------


async def create_application(work: Work) -> Result:
    account_id, secret = await _account(work), new_client_secret()
    scopes = _scopes(work, ALL_SCOPES, ALL_SCOPES)
    new = store.NewClient(account_id, new_client_id(), store.APPLICATION, work.arguments.name, scopes)
    await store.create_client(work.connection, new, work.secrets().hash(secret), work.now)
    return {
        "accountId": str(account_id),
        "clientId": new.client_id,
        "clientSecret": secret,
        "audience": work.settings.audience,
        "name": new.name,
        "scopes": list(scopes),
        "createdAt": _instant(work.now),
    }


async def create_api_key(work: Work) -> Result:
    account_id, api_key = await _account(work), new_api_key()
    bucket = await _bucket_of_key(work, account_id)
    # A key of one bucket does not make or delete buckets, unless that is asked for.
    default = tuple(s for s in BUCKET_SCOPES if s == "read:buckets" or not s.endswith(":buckets") or bucket is None)
    scopes = _scopes(work, BUCKET_SCOPES, default)
    bucket_no = bucket.bucket_no if bucket else None
    new = store.NewClient(account_id, new_client_id(), store.API_KEY, work.arguments.name, scopes, bucket_no)
    await store.create_client(work.connection, new, work.secrets().hash(api_key), work.now)
    return {
        "accountId": str(account_id),
        "apiKeyId": new.client_id,
        "apiKey": api_key,
        "bucketId": bucket.id if bucket else None,
        "name": new.name,
        "scopes": list(scopes),
        "createdAt": _instant(work.now),
    }


async def _bucket_of_key(work: Work, account_id: UUID) -> store.AnyRow | None:
    if work.arguments.bucket is None:
        return None
    bucket = await store.get_bucket(work.connection, account_id, work.arguments.bucket)
    if bucket is None:
        raise NotFoundError(f"the account has no bucket with the id {work.arguments.bucket}")
    return bucket


def list_clients(kind: str) -> Command:
    async def run(work: Work) -> Result:
        return [_show_client(row) for row in await store.list_clients(work.connection, kind, work.arguments.account)]

    return run


def revoke_client(kind: str) -> Command:
    async def run(work: Work) -> Result:
        found = await _client(work, kind)
        row = await store.revoke_client(work.connection, found.account_id, found.client_id, work.now)
        return {_ID_MEMBERS[kind]: row.client_id, "name": row.name, "revokedAt": _instant(row.revoked_at)}

    return run


def rotate_client(kind: str) -> Command:
    async def run(work: Work) -> Result:
        found = await _client(work, kind)
        if found.revoked_at is not None:
            raise BadRequestError(f"the {_NOUNS[kind]} {found.client_id} is revoked")
        secret = new_client_secret() if kind == store.APPLICATION else new_api_key()
        ends_at = work.now + timedelta(hours=work.arguments.overlap_hours)
        await store.expire_secrets(work.connection, found.account_id, found.client_id, ends_at)
        secret_hash = work.secrets().hash(secret)
        await store.add_secret(work.connection, found.account_id, found.client_id, secret_hash, work.now)
        # expiresAt: when the secrets before this one end.
        return {_ID_MEMBERS[kind]: found.client_id, _SECRET_MEMBERS[kind]: secret, "expiresAt": _instant(ends_at)}

    return run


# --- buckets -----------------------------------------------------------------------------------------------------


async def create_bucket(work: Work) -> Result:
    account_id = await _account(work)
    return _show_bucket(await store.create_bucket(work.connection, account_id, work.arguments.name, work.now))


async def list_buckets(work: Work) -> Result:
    return [_show_bucket(row) for row in await store.list_buckets(work.connection, work.arguments.account)]


async def revoke_bucket(work: Work) -> Result:
    bucket = await store.find_bucket(work.connection, work.arguments.id)
    if bucket is None:
        raise NotFoundError(f"no bucket has the id {work.arguments.id}")
    deleted = await store.delete_bucket(work.connection, bucket.account_id, bucket.id, work.now)
    return _show_bucket(bucket) | {"revokedAt": _instant(deleted.deleted_at if deleted else work.now)}


# --- signing keys ------------------------------------------------------------------------------------------------


async def list_signing_keys(work: Work) -> Result:
    keys = await signing.list_keys(work.connection)
    return [{"kid": kid, "createdAt": _instant(created_at)} for kid, created_at in keys]


async def rotate_signing_key(work: Work) -> Result:
    fernet = work.secrets().fernet
    # With another secret key than the servers', they could not read the new signing key.
    await signing.read_keys(work.connection, fernet)
    kid = await signing.add_key(work.connection, fernet, work.now)
    await signing.retire_keys(work.connection, work.now)
    return {"kid": kid, "createdAt": _instant(work.now)}
