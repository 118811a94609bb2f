"""What callers meet while Postgres cannot be reached. Its socket is behind a link, which the test takes away."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import make_url

from meterhouse import clock
from meterhouse.access.clients import MAX_AGE_SECONDS, ClientCache
from meterhouse.access.secrets import derive_secrets, new_api_key
from meterhouse.database import make_engine
from meterhouse.errors import UnavailableError


def test_a_known_client_gets_on_and_an_unknown_one_is_told_to_try_again(installation, make_api_key, tmp_path: Path):
    key = make_api_key()["apiKey"]
    url = make_url(installation.environment["METERHOUSE_DATABASE_URL"])
    link = tmp_path / "postgres"
    link.symlink_to(str(url.query["host"]))
    secrets = derive_secrets(installation.environment["METERHOUSE_SECRET_KEY"])

    async def work() -> None:
        through_link = url.update_query_dict({"host": str(link)})
        engine = make_engine(through_link.render_as_string(hide_password=False), 4)
        cache = ClientCache(engine, secrets)
        known = await cache.by_api_key(key, clock.now())
        assert known is not None
        await engine.dispose()
        link.unlink()

        await asyncio.sleep(MAX_AGE_SECONDS + 0.1)
        again = await asyncio.gather(*(cache.by_api_key(key, clock.now()) for _ in range(100)))
        assert {client.caller for client in again if client} == {known.caller}
        with pytest.raises(UnavailableError):
            await cache.by_api_key(new_api_key(), clock.now())

        link.symlink_to(str(url.query["host"]))
        await asyncio.sleep(1.1)
        assert await cache.by_api_key(new_api_key(), clock.now()) is None
        assert await cache.by_api_key(key, clock.now()) is not None
        await cache.close()
        await engine.dispose()

    asyncio.run(work())
