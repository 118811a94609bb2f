"""Two API processes on one database tell the same, at once."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .make import add_meter, ingest, make_event, make_meter, query, receipt_of, refused, values


@pytest.fixture(scope="module")
def second_url(start_api):
    return start_api().base_url


@pytest.fixture
def other(bucket, second_url):
    """The seed mount of the same bucket in another process."""
    headers = {"Authorization": f"Bearer {bucket.api_key}"}
    with httpx.Client(base_url=f"{second_url}/v3/metering/{bucket.id}", headers=headers, timeout=30) as client:
        yield client


def test_an_acknowledged_event_is_counted_by_the_other(bucket, other):
    add_meter(bucket.seed)
    for number in range(1, 21):
        ingest(bucket.seed if number % 2 else other, make_event())
        assert values(query(other if number % 2 else bucket.seed)) == [number]


def test_a_meter_is_known_to_the_other_from_the_first_moment(bucket, other):
    refused(other.get("/meters/usage"), 404)
    created = add_meter(bucket.seed)
    assert other.get("/meters/usage").json() == created
    assert query(other) == []


def test_a_change_of_groups_is_known_to_the_other(bucket, other):
    add_meter(bucket.seed, groupBy={"key": "$.a"})
    ingest(bucket.seed, make_event(data={"value": 1, "a": "x", "b": "y"}))
    for path, expected in (("$.a", "x"), ("$.b", "y"), ("$.a", "x")):
        bucket.seed.put("/meters/usage", json={"groupBy": {"key": path}})
        assert [row["groupBy"] for row in query(other, groupBy="key")] == [{"key": expected}]


def test_a_deleted_meter_is_unknown_to_the_other(bucket, other):
    add_meter(bucket.seed)
    assert query(other) == []
    bucket.seed.delete("/meters/usage")
    refused(other.get("/meters/usage"), 404)
    refused(other.get("/meters/usage/query"), 404)


def test_a_duplicate_is_known_to_the_other(bucket, other):
    event = make_event()
    ingest(bucket.seed, event)
    assert receipt_of(other, event)["duplicates"] == 1
    assert receipt_of(other, event | {"subject": "bob"})["conflicts"] == 1


def test_of_the_same_events_in_both_at_once_each_is_accepted_once(bucket, other):
    add_meter(bucket.seed)
    events = [make_event() for _ in range(50)]
    with ThreadPoolExecutor(8) as pool:
        batches = [(bucket.seed, events), (other, events[::-1])] * 8
        receipts = list(pool.map(lambda batch: receipt_of(batch[0], *batch[1]), batches))
    assert sum(receipt["accepted"] for receipt in receipts) == 50
    assert sum(receipt["duplicates"] for receipt in receipts) == 50 * 15
    assert values(query(other)) == [50]


def test_of_two_meters_of_one_slug_exactly_one_wins(bucket, other):
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda client: client.post("/meters", json=make_meter()), [bucket.seed, other] * 2)
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_the_latest_is_the_last_that_arrived_in_either(bucket, other):
    add_meter(bucket.seed, aggregation="LATEST")
    for value, client in enumerate((bucket.seed, other, bucket.seed, other, other, bucket.seed)):
        ingest(client, make_event(data={"value": value}))
        assert values(query(other)) == [value]
