"""The first start of an installation, in a database that has no account yet."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock
from meterhouse.access.secrets import derive_secrets, is_api_key, is_client_id, is_client_secret
from meterhouse.database import make_engine
from meterhouse.first_start import Credentials, bootstrap
from meterhouse.settings import Settings
from meterhouse.tables import metadata

SECRETS = derive_secrets("x" * 40)


@asynccontextmanager
async def new_database(installation) -> AsyncIterator[AsyncEngine]:
    url = installation.environment["METERHOUSE_DATABASE_URL"]
    admin = make_engine(url, 2)
    async with admin.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("DROP DATABASE IF EXISTS first_start WITH (FORCE)"))
        await connection.execute(text("CREATE DATABASE first_start"))
    await admin.dispose()
    engine = make_engine(str(admin.url.set(database="first_start").render_as_string(hide_password=False)), 8)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    try:
        yield engine
    finally:
        await engine.dispose()


async def count(engine: AsyncEngine) -> tuple[int, ...]:
    async with engine.connect() as connection:
        tables = ("accounts", "clients", "buckets", "collectors", "streams", "stream_runs")
        statement = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
        return tuple((await connection.execute(text(statement))).one())


def test_only_the_first_of_many_starts_makes_an_account(installation, tmp_path: Path):
    async def work() -> list[Credentials | None]:
        async with new_database(installation) as engine:
            settings = Settings(data_dir=tmp_path)
            made = await asyncio.gather(*(bootstrap(engine, SECRETS, settings, clock.now()) for _ in range(6)))
            assert await count(engine) == (1, 2, 1, 1, 1, 1)
            assert await bootstrap(engine, SECRETS, settings, clock.now()) is None
            return list(made)

    (credentials,) = [one for one in asyncio.run(work()) if one is not None]
    file = tmp_path / "credentials.json"
    assert json.loads(file.read_text()) == credentials.as_json()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"]
    assert is_client_id(credentials.account.client_id)
    assert is_client_secret(credentials.account.client_secret)
    assert is_api_key(credentials.account.api_key)
    assert credentials.account.bucket_id.startswith("mtr_")
    assert len(credentials.account.bucket_id) == 28
    members = ["accountId", "clientId", "clientSecret", "audience", "apiKey", "bucketId", "collectorId", "meterKey"]
    assert list(credentials.as_json()) == members


def test_nothing_is_kept_when_the_credentials_cannot_be_written(installation, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("")

    async def work() -> None:
        async with new_database(installation) as engine:
            try:
                await bootstrap(engine, SECRETS, Settings(data_dir=blocked), clock.now())
            except OSError:
                assert await count(engine) == (0,) * 6
            else:
                raise AssertionError("written to a file's inside")
            assert await bootstrap(engine, SECRETS, Settings(data_dir=tmp_path / "good"), clock.now())

    asyncio.run(work())
