"""POST /events?partial=true: the good events of a batch are stored, the bad ones named."""

import pytest

from .make import MISSING, count_events, ingest, make_event, receipt_of, refused

pytestmark = pytest.mark.odd_requests("malformed events are what it is about")


def test_the_good_are_stored_and_the_bad_rejected(mount):
    receipt = receipt_of(mount, make_event(), make_event(subject=MISSING), make_event(), partial="true")
    assert (receipt["accepted"], receipt["rejected"]) == (2, 1)
    assert [one["status"] for one in receipt["events"]] == ["accepted", "rejected", "accepted"]
    assert count_events(mount) == 2


def test_a_rejected_event_says_why(mount):
    receipt = receipt_of(mount, make_event(), make_event(id="bad", subject=5), partial="true")
    [rejected] = [one for one in receipt["events"] if one["status"] == "rejected"]
    assert (rejected["index"], rejected["id"], rejected["source"]) == (1, "bad", "tests")
    assert "subject" in rejected["detail"]


def test_the_seed_receipt_lists_the_rejected(bucket):
    response = bucket.seed.post("/events", json=[make_event(), make_event(time="now")], params={"partial": "true"})
    assert response.status_code == 200
    assert [(one["index"], one["status"]) for one in response.json()["events"]] == [(1, "rejected")]


def test_openmeter_takes_a_partial_batch_too(bucket):
    assert bucket.openmeter.post("/events", json=[make_event(), 5], params={"partial": "true"}).is_success
    assert count_events(bucket.openmeter) == 1


@pytest.mark.parametrize("bad", [5, None, "event", [], {}])
def test_an_event_that_is_no_event_is_rejected(mount, bad):
    receipt = receipt_of(mount, bad, make_event(), partial="true")
    assert [one["status"] for one in receipt["events"]] == ["rejected", "accepted"]


def test_duplicates_and_conflicts_are_told_beside_the_rejected(mount):
    event = make_event()
    ingest(mount, event)
    batch = [make_event(type=MISSING), event, event | {"subject": "bob"}, make_event()]
    receipt = receipt_of(mount, *batch, partial="true")
    assert [one["status"] for one in receipt["events"]] == ["rejected", "duplicate", "conflict", "accepted"]
    assert [receipt[kind] for kind in ("accepted", "duplicates", "conflicts", "rejected")] == [1, 1, 1, 1]


def test_a_batch_of_bad_events_is_rejected_event_by_event(mount):
    receipt = receipt_of(mount, make_event(id=5), make_event(source=""), partial="true")
    assert (receipt["accepted"], receipt["rejected"]) == (0, 2)


def test_partial_false_is_the_rule(mount):
    refused(mount.post("/events", json=[make_event(), 5], params={"partial": "false"}))
    assert count_events(mount) == 0


def test_partial_does_not_help_a_broken_body(mount):
    headers = {"Content-Type": "application/json"}
    refused(mount.post("/events", content=b"[{}", params={"partial": "true"}, headers=headers))
