"""The first account: with an application, an API key and a bucket, so that there is someone to call with."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.access import store
from meterhouse.access.operations import ALL_SCOPES, BUCKET_SCOPES
from meterhouse.access.secrets import Secrets, new_api_key, new_client_id, new_client_secret


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The only time that these secrets are seen."""

    account_id: UUID
    client_id: str
    client_secret: str
    api_key: str
    bucket_id: str


async def make_first_account(connection: AsyncConnection, secrets: Secrets, now: datetime) -> FirstAccount | None:
    """None: there was an account already. Until the transaction ends, other processes wait here."""
    await store.lock_first_start(connection)
    if await store.any_account(connection):
        return None
    account = await store.create_account(connection, "default", now)
    bucket = await store.create_bucket(connection, account.account_id, "default", now)
    client_id, client_secret = new_client_id(), new_client_secret()
    application = store.NewClient(account.account_id, client_id, store.APPLICATION, "default", ALL_SCOPES)
    await store.create_client(connection, application, secrets.hash(client_secret), now)
    api_key = new_api_key()
    # Opens the whole account, whose default bucket is the one above.
    key = store.NewClient(account.account_id, new_client_id(), store.API_KEY, "default", BUCKET_SCOPES)
    await store.create_client(connection, key, secrets.hash(api_key), now)
    return FirstAccount(account.account_id, client_id, client_secret, api_key, bucket.id)
