import asyncio
import subprocess
import sys
from datetime import timedelta

import httpx
from jose import jwt
from sqlalchemy import insert, text

from meterhouse import clock
from meterhouse.access import signing
from meterhouse.access.secrets import derive_secrets
from meterhouse.database import make_engine
from meterhouse.tables import signing_keys

from .conftest import list_buckets


def kids(base_url: str) -> list[str]:
    return [key["kid"] for key in httpx.get(f"{base_url}/.well-known/jwks.json").json()["keys"]]


def test_after_a_rotation_old_tokens_stay_valid_and_new_keys_are_known_everywhere(
    installation, api, start_api, application
):
    old = application.token(api.base_url)
    rotated = installation.run("signing-keys", "rotate")["kid"]
    other = start_api()  # signs with the new key from its start on
    new = application.token(other.base_url)
    assert jwt.get_unverified_header(new)["kid"] == rotated
    for base_url in (api.base_url, other.base_url):
        assert list_buckets(base_url, old).status_code == 200
        assert list_buckets(base_url, new).status_code == 200
        assert {rotated, jwt.get_unverified_header(old)["kid"]} <= set(kids(base_url))
    assert rotated == installation.run("signing-keys", "list")[0]["kid"]


def test_a_wrong_secret_key_is_one_clear_line(installation, api):
    environment = installation.environment | {"METERHOUSE_SECRET_KEY": "another-key-another-key-another-key-another"}
    done = subprocess.run(
        [sys.executable, "-m", "meterhouse", "signing-keys", "rotate"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "METERHOUSE_SECRET_KEY" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_keys_superseded_for_more_than_two_hours_are_removed(installation):
    fernet = derive_secrets("x" * 40).fernet
    now = clock.now()

    async def work() -> list[str]:
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 2)
        async with engine.connect() as connection:  # never committed: the keys of the running servers stay
            await connection.execute(text("DELETE FROM signing_keys"))
            for kid, hours in (("oldest", 9), ("older", 3), ("superseded-recently", 2.5), ("newest", 1)):
                row = {"kid": kid, "encrypted_private_key": b"", "created_at": now - timedelta(hours=hours)}
                await connection.execute(insert(signing_keys).values(row))
            assert await signing.retire_keys(connection, now) == 2
            left = [kid for kid, _ in await signing.list_keys(connection)]
            await signing.add_key(connection, fernet, now)
            await connection.rollback()
        await engine.dispose()
        return left

    assert asyncio.run(work()) == ["newest", "superseded-recently"]


def test_several_first_starts_at_once_make_one_key(installation):
    """In a schema of its own, which is what a new installation's database is to this code."""
    fernet = derive_secrets("x" * 40).fernet

    async def first_start(engine) -> None:
        async with engine.begin() as connection:
            await connection.execute(text("SET LOCAL search_path TO first_keys"))
            await signing.ensure_fresh_key(connection, fernet, clock.now())

    async def work() -> int:
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 6)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE SCHEMA first_keys"))
            await connection.execute(text("CREATE TABLE first_keys.signing_keys (LIKE public.signing_keys)"))
        try:
            await asyncio.gather(*(first_start(engine) for _ in range(5)))
        finally:
            count = await drop(engine)
            await engine.dispose()
        return count

    async def drop(engine) -> int:
        async with engine.begin() as connection:
            count = (await connection.execute(text("SELECT count(*) FROM first_keys.signing_keys"))).scalar_one()
            await connection.execute(text("DROP SCHEMA first_keys CASCADE"))
        return count

    assert asyncio.run(work()) == 1
