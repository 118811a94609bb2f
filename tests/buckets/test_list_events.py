"""GET /api/v1/events."""

import pytest

from .make import add_customer, ago, ingest, instant, make_event, receipt_of, refused


def listed(bucket, **params):
    response = bucket.openmeter.get("/events", params={name.rstrip("_"): value for name, value in params.items()})
    assert response.status_code == 200, response.text
    return response.json()


def ids(items):
    return [item["event"]["id"] for item in items]


@pytest.fixture
def three(bucket):
    """Events of three hours, sent in another order than they happened."""
    ingest(
        bucket.openmeter,
        make_event(id="apple-2", time=ago(hours=2), subject="bob"),
        make_event(id="pear-3", time=ago(hours=3), subject="alice"),
        make_event(id="apple-1", time=ago(hours=1), subject="alice"),
    )
    return bucket


def test_a_new_bucket_lists_no_events(bucket):
    assert listed(bucket) == []


def test_the_latest_event_comes_first(three):
    assert ids(listed(three)) == ["apple-1", "apple-2", "pear-3"]


def test_an_event_is_listed_with_the_times_of_its_arrival(bucket):
    sent = make_event(time=ago(hours=1))
    ingest(bucket.openmeter, sent)
    [item] = listed(bucket)
    assert {name: item["event"][name] for name in ("id", "source", "type", "subject", "data")} == {
        name: sent[name] for name in ("id", "source", "type", "subject", "data")
    }
    assert instant(item["event"]["time"]) == instant(sent["time"])
    assert instant(ago(minutes=5)) < instant(item["ingestedAt"]) <= instant(item["storedAt"]) < instant(ago(minutes=-5))


def test_limit_cuts_the_list(three):
    assert ids(listed(three, limit=2)) == ["apple-1", "apple-2"]


def test_a_hundred_events_are_the_default_and_the_most(bucket):
    ingest(bucket.openmeter, *(make_event(time=ago(hours=1)) for _ in range(120)))
    assert len(listed(bucket)) == 100
    assert len(listed(bucket, limit=100)) == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "x"),
        ("from", "yesterday"),
        ("from", "2025-01-01"),
        ("to", "5"),
        ("ingestedAtFrom", "x"),
        ("ingestedAtTo", "x"),
        ("clientId", ""),
        ("clientId", "x" * 37),
    ],
)
def test_a_bad_parameter_is_refused(shared, name, value):
    refused(shared.openmeter.get("/events", params={name: value}))


def test_id_finds_a_part_of_the_id(three):
    assert ids(listed(three, id="apple")) == ["apple-1", "apple-2"]
    assert ids(listed(three, id="-3")) == ["pear-3"]
    assert ids(listed(three, id="%")) == []
    assert ids(listed(three, id="apple_1")) == []


def test_subject_finds_the_whole_subject(three):
    assert ids(listed(three, subject="alice")) == ["apple-1", "pear-3"]
    assert ids(listed(three, subject="ali")) == []


def test_from_and_to_cut_by_time(three):
    assert ids(listed(three, from_=ago(hours=2, minutes=30), to=ago(hours=1, minutes=30))) == ["apple-2"]


def test_ingested_at_cuts_by_arrival(three):
    assert len(listed(three, ingestedAtFrom=ago(minutes=5), ingestedAtTo=ago(minutes=-5))) == 3
    assert listed(three, ingestedAtFrom=ago(minutes=-5)) == []
    assert listed(three, ingestedAtTo=ago(minutes=5)) == []


def test_events_older_than_32_days_are_not_listed_by_default(bucket):
    old, young = make_event(time=ago(days=40)), make_event(time=ago(days=30))
    ingest(bucket.openmeter, old, young)
    assert ids(listed(bucket)) == [young["id"]]


def test_from_more_than_32_days_ago_is_refused(shared):
    refused(shared.openmeter.get("/events", params={"from": ago(days=33)}))


def test_customer_id_finds_the_events_of_its_subjects(three):
    customer = add_customer(three.openmeter, key="bob", usageAttribution={"subjectKeys": ["bobs-machine"]})
    ingest(three.openmeter, make_event(id="machine", time=ago(hours=1), subject="bobs-machine"))
    items = listed(three, customerId=[customer["id"]])
    assert ids(items) == ["machine", "apple-2"]
    assert {item["customerId"] for item in items} == {customer["id"]}


def test_an_event_without_customer_has_no_customer_id(three):
    assert all("customerId" not in item for item in listed(three))


def test_a_duplicate_is_not_listed_again(bucket):
    event = make_event(time=ago(hours=1))
    ingest(bucket.openmeter, event)
    ingest(bucket.openmeter, event)
    assert ids(listed(bucket)) == [event["id"]]


def test_a_conflict_is_kept_for_inspection(bucket):
    event = make_event(time=ago(hours=1))
    ingest(bucket.openmeter, event)
    assert receipt_of(bucket.openmeter, event | {"data": {"value": 2}})["conflicts"] == 1
    marked = [item for item in listed(bucket) if "conflict" in item.get("validationError", "")]
    assert [item["event"]["data"] for item in marked] == [{"value": 2}]


@pytest.mark.parametrize("name", ["id", "subject", "customerId"])
def test_a_filter_that_no_text_can_hold_never_breaks(shared, name):
    for value in ("\u0000", "\\", "%", "'", "x" * 5_000):
        assert shared.openmeter.get("/events", params={name: value}).status_code < 500
    assert shared.openmeter.get(f"/events?{name}=%ff%fe").status_code < 500
