"""Scripts under test: one sandbox for a module, one event loop around all that happens in it."""

import asyncio

import pytest

from meterhouse.database import make_engine
from meterhouse.streams.function import Record
from meterhouse.streams.nodes import make_function
from meterhouse.streams.sandbox.process import Limits
from meterhouse.streams.scripts import open_sandbox
from tests.streams.nodes.make import make_node, make_step

SCRIPT_SECONDS = 1.5


@pytest.fixture(scope="module")
def scripts():
    """Runs coroutines in which scripts can run."""
    with asyncio.Runner() as runner:
        sandbox = open_sandbox(Limits(time_seconds=SCRIPT_SECONDS, locate_seconds=0.5))
        runner.run(sandbox.__aenter__())
        yield runner.run
        runner.run(sandbox.__aexit__(None, None, None))


@pytest.fixture
def run_script(scripts):
    """`run_script(source, payload, …)`: the step, after one slice."""

    def run(source, *payloads, step=None, **params):
        step = make_step() if step is None else step
        node = make_node("transforms/script", transform=source, **params)
        records = [Record(payload, {"n": n}) for n, payload in enumerate(payloads or [{}])]
        scripts(make_function(node).handle(records, step))
        return step

    return run


@pytest.fixture
def with_tables(scripts, installation):
    """`with_tables(test)`: the coroutine function gets a connection; nothing stays."""

    async def run(test):
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 1)
        try:
            async with engine.connect() as connection:
                await test(connection)
                await connection.rollback()
        finally:
            await engine.dispose()

    return lambda test: scripts(run(test))
