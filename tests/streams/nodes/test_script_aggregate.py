from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from meterhouse.aggregations import store as lookup
from meterhouse.rules.sessions import session_key, store_id
from meterhouse.streams.function import Record, StreamError
from meterhouse.streams.nodes import make_function
from meterhouse.tables import aggregation_sessions
from tests.streams.nodes.make import ACCOUNT_ID, NOW, STREAM_ID, make_node, make_step, reasons, sent

INSTANT = "2026-01-31T12:00:00.000Z"
COUNT = "session.data.sum = (session.data.sum ?? 0) + (payload.n ?? 0);"


def make_aggregator(on_transform=COUNT, on_timeout=None, rules=(("who",),)):
    timeout = {} if on_timeout is None else {"onTimeout": on_timeout}
    fields = [{"fields": list(names)} for names in rules]
    return make_node("transforms/script_aggregate", groupByRules=fields, onTransform=on_transform, **timeout)


async def send(connection, node, *payloads, **step):
    step = make_step(connection, **step)
    await make_function(node).handle([Record(payload, {"n": n}) for n, payload in enumerate(payloads)], step)
    return step


async def wait(connection, node, **step):
    step = make_step(connection, **step)
    await make_function(node).flush(step, final=False)
    return step


async def stored(connection):
    """By key."""
    rows = await connection.execute(select(aggregation_sessions).where(aggregation_sessions.c.account_id == ACCOUNT_ID))
    return {row["session_key"]: dict(row) for row in rows.mappings()}


def metas(step):
    return [record.meta for record in step.emitted.get(None, [])]


def test_sessions_grow_within_and_across_slices(with_tables):
    async def test(connection):
        node = make_aggregator()
        await send(connection, node, {"who": "a", "n": 1}, {"who": "b", "n": 5}, {"who": "a", "n": 2})
        later = NOW + timedelta(minutes=1)
        step = await send(connection, node, {"who": "a", "n": 4}, now=later)
        assert step.emitted == {}
        kept = await stored(connection)
        assert {key: row["data"] for key, row in kept.items()} == {"a": {"sum": 7}, "b": {"sum": 5}}
        assert kept["a"]["meta"] == {"count": 3, "firstEvent": INSTANT, "lastEvent": "2026-01-31T12:01:00.000Z"}
        assert (kept["a"]["created_at"], kept["a"]["updated_at"]) == (NOW, later)
        assert kept["a"]["timeout_at"] is None

    with_tables(test)


def test_a_session_is_found_by_the_lookup(with_tables):
    async def test(connection):
        node = make_aggregator(rules=(("who", "n"),))
        await send(connection, node, {"who": "Zoë", "n": Decimal("1.50")})
        id_ = store_id(STREAM_ID, node.id)
        assert len(id_) == 40
        row = await lookup.find_session(connection, ACCOUNT_ID, id_, session_key(["Zoë", "1.5"]))
        assert row["data"] == {"sum": Decimal("1.5")}

    with_tables(test)


def test_the_first_rule_whose_fields_are_all_there_names_the_session(with_tables):
    async def test(connection):
        node = make_aggregator("await push({ key: session.key })", rules=(("who", "n"), ("who",), ("deep.id",)))
        step = await send(
            connection,
            node,
            {"who": "a", "n": 1},
            {"who": "a", "n": True},
            {"who": "a", "n": None},
            {"who": 7},
            {"deep": {"id": Decimal("2.50")}},
        )
        assert [record["key"] for record in sent(step)] == ['["a","1"]', '["a","true"]', "a", "7", "2.5"]
        with pytest.raises(StreamError, match="The node: no rule of groupByRules fits the record"):
            await send(connection, node, {"other": 1})

    with_tables(test)


def test_a_key_that_is_too_long_is_rejected(with_tables):
    async def test(connection):
        step = await send(connection, make_aggregator(), {"who": "x" * 2049}, {"who": "y" * 2048})
        assert reasons(step) == ["the session key has more than 2048 bytes"]
        assert list(await stored(connection)) == ["y" * 2048]

    with_tables(test)


def test_flush_sends_the_data_with_its_meta_and_removes_the_session(with_tables):
    async def test(connection):
        node = make_aggregator(COUNT + "if (payload.end) await session.flush()")
        await send(connection, node, {"who": "a", "n": 1}, {"who": "b", "n": 1})
        step = await send(connection, node, {"who": "a", "n": 2, "end": True}, {"who": "c", "end": True})
        assert sent(step) == [{"sum": 3}, {"sum": 0}]
        assert metas(step)[0] == {"count": 2, "firstEvent": INSTANT, "lastEvent": INSTANT, "flushType": "FLUSH"}
        assert list(await stored(connection)) == ["b"]

    with_tables(test)


def test_after_a_flush_the_key_begins_a_new_session(with_tables):
    async def test(connection):
        node = make_aggregator(COUNT + "session.setTimeout(1000); if (payload.end) await session.flush()")
        await send(connection, node, {"who": "a", "n": 1})
        later = NOW + timedelta(seconds=1)
        step = await send(
            connection, node, {"who": "a", "n": 2, "end": True}, {"who": "a", "n": 10}, {"who": "a", "n": 10}, now=later
        )
        assert sent(step) == [{"sum": 3}]
        row = (await stored(connection))["a"]
        assert (row["data"], row["meta"]["count"], row["created_at"]) == ({"sum": 20}, 2, later)

    with_tables(test)


def test_push_sends_and_keeps_the_session(with_tables):
    async def test(connection):
        node = make_aggregator(COUNT + "await session.push(payload.n === 3, payload.type)")
        step = await send(
            connection, node, {"who": "a", "n": 1}, {"who": "a", "n": 2, "type": "CONDITION"}, {"who": "a", "n": 3}
        )
        assert sent(step) == [{"sum": 1}, {"sum": 3}, {"sum": 6}]
        assert [(meta["count"], meta["flushType"]) for meta in metas(step)] == [
            (1, "PUSH"),
            (2, "CONDITION"),
            (2, "PUSH"),
        ]
        assert (await stored(connection))["a"]["meta"]["count"] == 3

    with_tables(test)


def test_without_the_current_payload_a_new_session_counts_nothing(with_tables):
    async def test(connection):
        step = await send(connection, make_aggregator("await session.push(true)"), {"who": "a"})
        assert metas(step) == [{"count": 0, "firstEvent": None, "lastEvent": None, "flushType": "PUSH"}]

    with_tables(test)


def test_a_script_may_add_to_the_meta_but_not_change_what_is_counted(with_tables):
    async def test(connection):
        await send(connection, make_aggregator("session.meta.count = 99; session.meta.custom = { a: 1 }"), {"who": "a"})
        meta = (await stored(connection))["a"]["meta"]
        assert (meta["count"], meta["custom"]) == (1, {"a": 1})

    with_tables(test)


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        ("90_000", 90),
        ("-5", 0),
        ("new Date('2026-01-31T13:00:00Z')", 3600),
        ("'2026-01-31T13:00:00Z'", 3600),
        ("require('moment').utc('2026-01-31T13:00:00Z')", 3600),
        ("Date.UTC(2026, 0, 31, 13)", 3600),
    ],
)
def test_a_time_out_is_a_date_or_milliseconds_from_now(with_tables, when, seconds):
    async def test(connection):
        await send(connection, make_aggregator(f"session.setTimeout({when})"), {"who": "a"})
        assert (await stored(connection))["a"]["timeout_at"] == NOW + timedelta(seconds=seconds)
        step = await send(connection, make_aggregator("await push({ at: session.timeoutAt })"), {"who": "a"})
        assert sent(step)[0]["at"].startswith("2026-01-31T1")
        await send(connection, make_aggregator("session.clearTimeout()"), {"who": "a"})
        assert (await stored(connection))["a"]["timeout_at"] is None

    with_tables(test)


@pytest.mark.parametrize("when", ["'soon'", "undefined", "new Date(NaN)", "8.64e15", "Infinity"])
def test_a_time_out_that_is_none_is_an_error(with_tables, when):
    async def test(connection):
        with pytest.raises(StreamError, match=r"line 1: .*session.setTimeout needs"):
            await send(connection, make_aggregator(f"session.setTimeout({when})"), {"who": "a"})

    with_tables(test)


def test_when_the_time_is_up_on_timeout_runs(with_tables):
    async def test(connection):
        on_timeout = "await push({ key: session.key, none: payload === undefined }); await session.flush()"
        node = make_aggregator(COUNT + "session.setTimeout(payload.wait)", on_timeout)
        await send(connection, node, {"who": "a", "n": 1, "wait": 2000}, {"who": "b", "n": 1, "wait": 1000})
        almost = await wait(connection, node, now=NOW + timedelta(milliseconds=999))
        assert almost.emitted == {}
        first = await wait(connection, node, now=NOW + timedelta(seconds=1))
        assert sent(first) == [{"key": "b", "none": True}, {"sum": 1}]
        assert metas(first)[1] == {"count": 1, "firstEvent": INSTANT, "lastEvent": INSTANT, "flushType": "TIMEOUT"}
        assert list(await stored(connection)) == ["a"]
        assert len(sent(await wait(connection, node, now=NOW + timedelta(hours=1)))) == 2

    with_tables(test)


def test_a_time_out_happens_once_unless_it_is_set_again(with_tables):
    async def test(connection):
        again = "session.data.turns = (session.data.turns ?? 0) + 1; if (session.data.turns < 3) session.setTimeout(0)"
        node = make_aggregator("session.setTimeout(0)", again)
        await send(connection, node, {"who": "a"})
        for seconds, turns in enumerate([1, 2, 3, 3]):
            await wait(connection, node, now=NOW + timedelta(seconds=seconds))
            assert (await stored(connection))["a"]["data"] == {"turns": turns}

    with_tables(test)


def test_time_outs_beyond_one_round_are_all_handled(with_tables, monkeypatch):
    monkeypatch.setattr("meterhouse.streams.nodes.script_aggregate.DUE_SESSIONS_AT_ONCE", 2)

    async def test(connection):
        node = make_aggregator("session.data.who = payload.who; session.setTimeout(0)", "await session.flush()")
        await send(connection, node, *({"who": str(n)} for n in range(5)))
        assert sorted(record["who"] for record in sent(await wait(connection, node))) == ["0", "1", "2", "3", "4"]

    with_tables(test)


def test_without_on_timeout_sessions_wait(with_tables):
    async def test(connection):
        node = make_aggregator("session.setTimeout(0)")
        await send(connection, node, {"who": "a"})
        step = make_step(connection)
        await make_function(node).flush(step, final=True)
        assert (step.emitted, list(await stored(connection))) == ({}, ["a"])

    with_tables(test)


def test_numbers_stay_exact_in_a_session(with_tables):
    async def test(connection):
        ids = [1234567890123456789, 2234567890123456789]
        node = make_aggregator("(session.data.ids ??= []).push(payload.id); if (payload.end) await session.flush()")
        await send(connection, node, {"who": "a", "id": ids[0]})
        assert (await stored(connection))["a"]["data"] == {"ids": [ids[0]]}
        step = await send(connection, node, {"who": "a", "id": ids[1], "end": True})
        assert sent(step) == [{"ids": ids}]

    with_tables(test)


def test_a_slice_in_parts_goes_on_with_its_sessions(with_tables):
    async def test(connection):
        node = make_aggregator(COUNT + "state.node.n = (state.node.n ?? 0) + 1")
        payloads = [{"who": "a", "n": 1, "text": "x" * 1_500_000} for _ in range(5)]
        step = await send(connection, node, *payloads)
        row = (await stored(connection))["a"]
        assert (row["data"], row["meta"]["count"], step.state) == ({"sum": 5}, 5, {"n": 5})

    with_tables(test)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("session.data = 7", "session.data must be an object"),
        ("session.meta = null", "Cannot convert undefined or null"),
        ("session.data.text = 'x'.repeat(300_000)", "the session a has more than 262144 characters"),
    ],
)
def test_a_session_has_limits(with_tables, source, message):
    async def test(connection):
        with pytest.raises(StreamError, match=message):
            await send(connection, make_aggregator(source), {"who": "a"})

    with_tables(test)


@pytest.mark.parametrize(
    "params",
    [
        {"groupByRules": []},
        {"groupByRules": None},
        {"groupByRules": [{"fields": []}]},
        {"groupByRules": ["who"]},
        {"groupByRules": [{"fields": [7]}]},
        {"onTransform": None},
        {"onTimeout": 7},
    ],
)
def test_broken_params_are_refused(params):
    node = make_aggregator()
    with pytest.raises(StreamError, match="The node: "):
        make_function(make_node(node.type, **(node.params | params)))
