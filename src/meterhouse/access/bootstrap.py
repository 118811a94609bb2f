"""The first start: an account, an application, an API key and a bucket, so that there is someone to call with."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse.access import store
from meterhouse.access.operations import ALL_SCOPES, BUCKET_SCOPES
from meterhouse.access.secrets import Secrets, new_api_key, new_client_id, new_client_secret, random_text, write_private
from meterhouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Credentials:
    """The only time that these secrets are seen."""

    account_id: str
    client_id: str
    client_secret: str
    audience: str
    api_key: str
    bucket_id: str

    def as_json(self) -> dict[str, str]:
        return {
            "accountId": self.account_id,
            "clientId": self.client_id,
            "clientSecret": self.client_secret,
            "audience": self.audience,
            "apiKey": self.api_key,
            "bucketId": self.bucket_id,
        }


async def bootstrap(engine: AsyncEngine, secrets: Secrets, settings: Settings, now: datetime) -> Credentials | None:
    """None: there was an account already. Safe to call from several processes at once."""
    async with engine.begin() as connection:
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
        credentials = Credentials(
            str(account.account_id), client_id, client_secret, settings.audience, api_key, bucket.id
        )
        # Before the commit: after it, a crash would lose the only copy.
        _write(settings.data_dir / "credentials.json", credentials)
    return credentials


def _write(path: Path, credentials: Credentials) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{random_text(16)}")
    write_private(draft, json.dumps(credentials.as_json(), indent=2) + "\n")
    draft.replace(path)
