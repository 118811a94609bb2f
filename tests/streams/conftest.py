"""Streams that are put into the database directly: until they can be imported."""

import asyncio
from uuid import UUID

import pytest

from meterhouse import clock
from meterhouse.database import make_engine
from meterhouse.streams import store
from tests.tenants import make_tenant


@pytest.fixture(scope="session")
def tenant(installation, api):
    return make_tenant(installation, api.base_url)


@pytest.fixture(scope="session")
def client(tenant):
    with tenant.client() as client:
        yield client


@pytest.fixture(scope="session")
def stranger(installation, api):
    """A client of another account."""
    with make_tenant(installation, api.base_url).client() as client:
        yield client


@pytest.fixture
def make_stream(installation, tenant):
    """`make_stream(name, (document, tag, description), …)` stores the versions oldest first; returns the stream's id."""

    async def insert(name, versions):
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 2)
        account_id = UUID(tenant.account_id)
        try:
            async with engine.begin() as connection:
                stream = await store.insert_stream(connection, account_id, name, clock.now())
                for document, tag, description in versions:
                    version = store.NewVersion(document, tag, description, created_by="tests")
                    await store.insert_version(connection, account_id, stream["id"], version, clock.now())
        finally:
            await engine.dispose()
        return str(stream["id"])

    return lambda name, *versions: asyncio.run(insert(name, versions))
