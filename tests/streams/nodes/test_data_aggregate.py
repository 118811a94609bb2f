import time
from datetime import timedelta
from decimal import Decimal

import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.make import NOW, flush, handle, kept, make_node, make_step, reasons, sent

MONTHLY = {
    "groupKeys": [{"field": "userId", "operationType": "NONE"}, {"field": "dateTime", "operationType": "MONTH"}],
    "operations": [{"field": "downloadedGame", "type": "NUMERIC_SUM"}],
}


def aggregator(**params):
    return make_node("transforms/data_aggregate", **(MONTHLY | params))


def usage(user="USER-1001", games=2, day="2026-01-05"):
    return {"userId": user, "dateTime": day, "downloadedGame": games}


@pytest.mark.parametrize("flush_type", ["ALL_FILES", "EACH_FILE"])
def test_sums_are_sent_at_the_end_of_the_run(flush_type):
    node = aggregator(flushType=flush_type)
    step = handle(node, [usage(games=Decimal("0.1")), usage(games=Decimal("0.2"))])
    flush(node, step, final=False)
    assert step.emitted == {}
    step = handle(node, [usage(day="2026-02-01")], make_step(state=kept(step.state)))
    flush(node, step, final=True)
    assert sent(step) == [
        {"userId": "USER-1001", "month_dateTime": "2026-01", "sum_downloadedGame": Decimal("0.3")},
        {"userId": "USER-1001", "month_dateTime": "2026-02", "sum_downloadedGame": 2},
    ]
    assert step.emitted[None][0].meta == {
        "count": 2,
        "firstEvent": "2026-01-31T12:00:00.000Z",
        "lastEvent": "2026-01-31T12:00:00.000Z",
        "flushType": flush_type,
    }


def test_nothing_is_sent_twice():
    node = aggregator()
    step = flush(node, handle(node, [usage()]), final=True)
    assert sent(flush(node, make_step(state=kept(step.state)), final=True)) == []


@pytest.mark.parametrize("timeout", [3600, "3600", {"value": 1, "unit": "hour"}, {"value": 60, "unit": "minutes"}])
def test_a_timeout_sends_the_groups_that_had_no_record_for_that_long(timeout):
    node = aggregator(flushType="TIMEOUT", timeout=timeout)
    step = handle(node, [usage("a"), usage("b")])
    later = make_step(state=kept(step.state), now=NOW + timedelta(minutes=59))
    flush(node, handle(node, [usage("b")], later), final=False)
    assert later.emitted == {}
    due = flush(node, make_step(state=kept(later.state), now=NOW + timedelta(hours=1)), final=False)
    assert [payload["userId"] for payload in sent(due)] == ["a"]
    rest = flush(node, make_step(state=kept(due.state)), final=True)
    assert [(payload["userId"], payload["sum_downloadedGame"]) for payload in sent(rest)] == [("b", 4)]


def test_a_condition_sends_the_group_as_soon_as_it_holds():
    node = aggregator(
        flushType="CONDITION",
        conditionalFlushConfig=[
            {"field": "sum_downloadedGame", "op": "ge", "value": "5"},
            {"field": "userId", "operator": "eq", "value": "a"},
        ],
    )
    step = handle(node, [usage("a", 3), usage("b", 9), usage("a", 3), usage("a", 1)])
    assert [(payload["userId"], payload["sum_downloadedGame"]) for payload in sent(step)] == [("a", 6)]
    assert [
        payload["sum_downloadedGame"] for payload in sent(flush(node, make_step(state=step.state), final=True))
    ] == [9, 1]


def test_a_record_that_cannot_be_summed_up_is_rejected():
    step = handle(aggregator(), [usage(games="many"), usage(day="someday"), usage()])
    assert reasons(step) == ["downloadedGame is not a number: 'many'", "dateTime: 'someday' is no date in ISO 8601"]


def test_many_groups_take_time_in_proportion():
    node = aggregator()

    def seconds(count):
        started = time.process_time()
        flush(node, handle(node, [usage(f"user-{number}") for number in range(count)]), final=True)
        return time.process_time() - started

    seconds(1_000)
    assert seconds(20_000) < 40 * seconds(2_000)


@pytest.mark.parametrize(
    "params",
    [
        {"flushType": "SOMETIMES"},
        {"flushType": "TIMEOUT"},
        {"flushType": "TIMEOUT", "timeout": {"value": 1, "unit": "moon"}},
        {"flushType": "CONDITION", "conditionalFlushConfig": []},
        {"flushType": "CONDITION", "conditionalFlushConfig": [{"field": "a", "op": "?"}]},
        {"groupKeys": []},
    ],
)
def test_a_broken_document_is_refused(params):
    with pytest.raises(StreamError, match="The node: "):
        handle(aggregator(**params), [])
