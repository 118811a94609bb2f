from uuid import UUID

import pytest

from meterhouse.streams.function import Node, Record, StreamError
from meterhouse.streams.nodes import make_function
from tests.streams.nodes.make import STREAM_ID, make_step, sent


@pytest.fixture
def in_turn(with_tables):
    """What each of the scripts pushed, run one after the other in one transaction."""

    def run(*scripts):
        pushed = []

        async def test(connection):
            for script in scripts:
                source, node_id, stream_id = script if isinstance(script, tuple) else (script, "node-1", STREAM_ID)
                step = make_step(connection, stream_id=stream_id)
                node = Node(node_id, "transforms/script", "The node", {"transform": source})
                await make_function(node).handle([Record({})], step)
                pushed.append(sent(step))

        with_tables(test)
        return pushed

    return run


GET = "await push({ found: (await persist.get('a')) ?? null })"
GET_SHARED = "await push({ found: (await sharedPersist.get('a')) ?? null })"


def test_values_are_kept_until_they_are_deleted(in_turn):
    assert in_turn(
        GET,
        "await persist.set('a', { n: 1, list: [null] })",
        GET,
        "await persist.set('a', null)",
        GET,
        "await persist.delete('a')",
        GET,
    ) == [
        [{"found": None}],
        [],
        [{"found": {"n": 1, "list": [None]}}],
        [],
        [{"found": None}],
        [],
        [{"found": None}],
    ]


def test_a_slice_sees_what_it_has_written(in_turn):
    source = """
    const first = await persist.get("a");
    await persist.set("a", { n: 1 });
    const second = await persist.get("a");
    second.n = 2;
    const third = await persist.get("a");
    await persist.delete("a");
    await push({ first: first ?? null, third, last: (await persist.get("a")) ?? null });
    """
    assert in_turn(source) == [[{"first": None, "third": {"n": 1}, "last": None}]]


def test_values_that_are_asked_for_together_come_together(in_turn):
    source = """
    const waiting = Promise.all([persist.get("a"), sharedPersist.get("a"), persist.get("b")]);
    persist.set("b", "new");
    const [own, shared, before] = await waiting;
    await push({ own, shared, before, after: await persist.get("b") });
    """
    stored = "await persist.set('a', 'own'); await sharedPersist.set('a', 'shared'); await persist.set('b', 'old')"
    assert in_turn(stored, source)[1] == [{"own": "own", "shared": "shared", "before": "old", "after": "new"}]


def test_persist_is_the_functions_own_and_shared_persist_the_accounts(in_turn):
    stored = "await persist.set('a', 'own'); await sharedPersist.set('a', 'shared')"
    other = UUID(int=9)
    assert in_turn(stored, (GET, "node-2", STREAM_ID), (GET, "node-1", other), (GET_SHARED, "node-2", other)) == [
        [],
        [{"found": None}],
        [{"found": None}],
        [{"found": "shared"}],
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("await persist.set('a', undefined)", "the value of a must be JSON"),
        ("await persist.set('a', 'x'.repeat(300_000))", "the value of a has more than 262144 characters"),
        ("await persist.set('', 1)", "a key is a text of 1 to 512 characters"),
        ("await persist.get('x'.repeat(513))", "a key is a text of 1 to 512 characters"),
        ("await persist.get(7)", "a key is a text of 1 to 512 characters"),
    ],
)
def test_keys_and_values_have_limits(in_turn, source, message):
    with pytest.raises(StreamError, match=f"line 1: .*{message}"):
        in_turn(source)
