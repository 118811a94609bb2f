"""One event for each source and id, for ever: duplicates and conflicts."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from .make import JSON, MISSING, add_meter, ago, count_events, ingest, instant, make_event, query, receipt_of, values


def statuses(receipt):
    return [one["status"] for one in receipt["events"]]


def test_an_event_sent_again_is_a_duplicate(mount):
    event = make_event()
    ingest(mount, event)
    assert statuses(receipt_of(mount, event)) == ["duplicate"]
    assert count_events(mount) == 1


def test_a_duplicate_tells_when_the_first_came(mount):
    event = make_event()
    ingest(mount, event)
    [again] = receipt_of(mount, event)["events"]
    assert instant(ago(minutes=5)) < instant(again["firstIngestedAt"]) <= instant(ago(seconds=-5))


def test_a_conflict_tells_when_the_first_came(mount):
    event = make_event()
    ingest(mount, event)
    [again] = receipt_of(mount, event | {"data": {"value": 2}})["events"]
    assert again["status"] == "conflict"
    assert instant(again["firstIngestedAt"]) <= instant(ago(seconds=-5))


def test_the_order_of_members_and_spaces_do_not_make_another_event(mount):
    event = make_event(data={"value": 1, "a": {"b": 1, "c": [1, 2]}})
    ingest(mount, event)
    turned = dict(reversed(event.items())) | {"data": {"a": {"c": [1, 2], "b": 1}, "value": 1}}
    headers = JSON | {"Prefer": "return=representation"}
    response = mount.post("/events", content=json.dumps(turned, indent=3), headers=headers)
    assert statuses(response.json()) == ["duplicate"]


@pytest.mark.parametrize("time", [MISSING, None])
def test_an_event_without_time_sent_again_is_a_duplicate(mount, time):
    event = make_event(time=time)
    ingest(mount, event)
    assert statuses(receipt_of(mount, event)) == ["duplicate"]
    assert count_events(mount) == 1


OTHER_CONTENT = [
    {"type": "other"},
    {"subject": "bob"},
    {"time": "2025-01-15T10:00:01Z"},
    {"time": "2025-01-15T10:00:00.000001Z"},
    {"data": {"value": 2}},
    {"data": {"value": "1"}},
    {"data": {"value": 1, "more": None}},
    {"data": {}},
    {"data": None},
    {"subscription": "sub-2"},
    {"dataschema": "https://example.com/other"},
]


@pytest.mark.parametrize("change", OTHER_CONTENT)
def test_the_same_key_with_other_content_is_a_conflict(mount, change):
    event = make_event(subscription="sub-1")
    ingest(mount, event)
    assert statuses(receipt_of(mount, event | change)) == ["conflict"]


def test_after_a_conflict_only_the_first_is_counted(mount):
    add_meter(mount)
    event = make_event(data={"value": 1})
    ingest(mount, event)
    ingest(mount, event | {"data": {"value": 100}}, event | {"data": {"value": 1000}})
    assert values(query(mount)) == [1]


def test_a_conflict_sent_again_is_not_counted_either(mount):
    add_meter(mount)
    event = make_event(data={"value": 1})
    ingest(mount, event)
    for _ in range(2):
        assert statuses(receipt_of(mount, event | {"data": {"value": 100}})) != ["accepted"]
    assert values(query(mount)) == [1]


@pytest.mark.parametrize("change", [{"source": "elsewhere"}, {"id": "another"}])
def test_another_source_or_id_is_another_event(mount, change):
    event = make_event()
    assert statuses(receipt_of(mount, event, event | change)) == ["accepted", "accepted"]


def test_source_and_id_are_not_glued_together(mount):
    pairs = [("a-b", "c"), ("a", "b-c"), ("a", "-b-c"), ("a-", "b-c"), ("A", "b-c")]
    receipt = receipt_of(mount, *(make_event(source=source, id=name) for source, name in pairs))
    assert receipt["accepted"] == len(pairs)


def test_another_bucket_is_another_world(make_bucket):
    event = make_event()
    receipts = [receipt_of(make_bucket().seed, event) for _ in range(2)]
    assert [receipt["accepted"] for receipt in receipts] == [1, 1]


def test_duplicates_inside_one_batch_are_counted_once(mount):
    event = make_event()
    assert statuses(receipt_of(mount, event, event, make_event(), event)) == [
        "accepted",
        "duplicate",
        "accepted",
        "duplicate",
    ]
    assert count_events(mount) == 2


def test_of_conflicting_events_in_one_batch_the_first_wins(mount):
    add_meter(mount)
    event = make_event(data={"value": 1})
    receipt = receipt_of(mount, event, event | {"data": {"value": 100}}, event)
    assert statuses(receipt) == ["accepted", "conflict", "duplicate"]
    assert values(query(mount)) == [1]


def test_an_event_without_time_twice_in_one_batch_is_a_duplicate(mount):
    event = make_event(time=MISSING)
    assert statuses(receipt_of(mount, event, event)) == ["accepted", "duplicate"]


def test_of_many_at_once_exactly_one_is_accepted(bucket):
    events = [make_event() for _ in range(10)]
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: receipt_of(bucket.seed, *events), range(16)))
    assert sum(receipt["accepted"] for receipt in receipts) == 10
    assert sum(receipt["duplicates"] for receipt in receipts) == 150
    assert count_events(bucket.seed) == 10


def test_batches_in_opposite_order_at_once_all_end(bucket):
    events = [make_event() for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        batches = [events, events[::-1]] * 8
        receipts = list(pool.map(lambda batch: receipt_of(bucket.seed, *batch), batches))
    assert sum(receipt["accepted"] for receipt in receipts) == 200
    assert count_events(bucket.seed) == 200
