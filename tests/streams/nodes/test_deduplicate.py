import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from meterhouse.database import make_engine
from meterhouse.streams.dedup_store import delete_expired_keys
from meterhouse.streams.function import Record, StreamError
from meterhouse.streams.nodes import make_function
from meterhouse.tables import stream_dedup_keys
from tests.streams.nodes.make import NOW, make_node, make_step, reasons, sent

BOTH = {"fixed": {"unique": {"id": "u"}, "duplicate": {"id": "d"}}}


@pytest.fixture
def in_transaction(installation) -> Callable[[Callable[..., Awaitable]], None]:
    """Runs a coroutine with a connection; what it did is rolled back."""

    async def run(test):
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 1)
        async with engine.connect() as connection:
            await connection.run_sync(lambda sync: stream_dedup_keys.create(sync, checkfirst=True))
            await test(connection)
            await connection.rollback()
        await engine.dispose()

    return lambda test: asyncio.run(run(test))


def deduplicate(key="${payload.id}", **params):
    return make_node("transforms/deduplicate", key=key, **({"multiOutput": BOTH} | params))


async def slice_of(connection, payloads, node=None, **step):
    step = make_step(connection, **step)
    await make_function(node or deduplicate()).handle([Record(payload) for payload in payloads], step)
    return step


def test_the_first_record_with_a_key_is_unique_within_and_across_slices(in_transaction):
    async def test(connection):
        first = await slice_of(connection, [{"id": 1, "n": 1}, {"id": 2}, {"id": 1, "n": 2}, {"id": "1"}])
        assert sent(first, "u") == [{"id": 1, "n": 1}, {"id": 2}]
        assert sent(first, "d") == [{"id": 1, "n": 2}, {"id": "1"}]
        second = await slice_of(connection, [{"id": 2}, {"id": 3}])
        assert (sent(second, "u"), sent(second, "d")) == ([{"id": 3}], [{"id": 2}])

    in_transaction(test)


def test_duplicates_that_nobody_wants_are_dropped(in_transaction):
    async def test(connection):
        node = deduplicate(multiOutput={"fixed": {"unique": {"id": "u"}}})
        step = await slice_of(connection, [{"id": 1}, {"id": 1}], node)
        assert (sent(step, "u"), step.dropped) == ([{"id": 1}], 1)

    in_transaction(test)


@pytest.mark.parametrize(("params", "days"), [({}, 30), ({"lifeTimeDays": 1}, 1), ({"lifeTimeDays": "2"}, 2)])
def test_a_key_is_taken_over_when_its_life_time_has_passed(in_transaction, params, days):
    async def test(connection):
        node = deduplicate(**params)
        await slice_of(connection, [{"id": 1}], node)
        almost = await slice_of(connection, [{"id": 1}], node, now=NOW + timedelta(days=days, seconds=-1))
        assert sent(almost, "u") == []
        after = await slice_of(connection, [{"id": 1}, {"id": 1}], node, now=NOW + timedelta(days=days))
        assert (len(sent(after, "u")), len(sent(after, "d"))) == (1, 1)
        again = await slice_of(connection, [{"id": 1}], node, now=NOW + timedelta(days=days, seconds=1))
        assert sent(again, "u") == []

    in_transaction(test)


def test_keys_belong_to_one_function_of_one_stream(in_transaction):
    async def test(connection):
        await slice_of(connection, [{"id": 1}])
        assert sent(await slice_of(connection, [{"id": 1}], stream_id=uuid4()), "u") == [{"id": 1}]

    in_transaction(test)


def test_a_whole_record_is_a_key_whatever_the_order_of_its_members(in_transaction):
    async def test(connection):
        step = await slice_of(connection, [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}], deduplicate("${payload}"))
        assert sent(step, "u") == [{"a": 1, "b": 2}, {"a": 1}]

    in_transaction(test)


def test_records_without_a_key_are_rejected_rather_than_lost():
    async def test():
        step = await slice_of(None, [{}, {"id": None}, {"id": ""}])
        assert len(reasons(step)) == 3

    asyncio.run(test())


def test_expired_keys_are_deleted_a_part_at_a_time(in_transaction):
    async def test(connection):
        await slice_of(connection, [{"id": n} for n in range(5)], deduplicate(lifeTimeDays=1))
        await slice_of(connection, [{"id": "kept"}])
        tomorrow = NOW + timedelta(days=1)
        assert [await delete_expired_keys(connection, tomorrow, 3) for _ in range(3)] == [3, 2, 0]

    in_transaction(test)


@pytest.mark.parametrize(
    "params", [{"key": ""}, {"key": None}, {"lifeTimeDays": -1}, {"lifeTimeDays": 10**9}, {"lifeTimeDays": "x"}]
)
def test_broken_params_are_refused(params):
    with pytest.raises(StreamError, match="The node: "):
        make_function(deduplicate(**params))
