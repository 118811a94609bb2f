"""POST /events: the answer of each mount."""

import pytest

from .make import JSON, ingest, make_event, receipt_of, refused

FULL = {"Prefer": "return=representation"}


def test_openmeter_answers_204_and_nothing(bucket):
    response = ingest(bucket.openmeter, make_event())
    assert (response.status_code, response.content) == (204, b"")


def test_openmeter_answers_204_for_duplicates_and_conflicts(bucket):
    event = make_event()
    ingest(bucket.openmeter, event)
    assert ingest(bucket.openmeter, event, event | {"subject": "bob"}).status_code == 204


def test_openmeter_answers_204_under_another_preference(bucket):
    headers = {"Prefer": "return=minimal"}
    assert bucket.openmeter.post("/events", json=make_event(), headers=headers).status_code == 204


def test_the_seed_mount_answers_a_receipt_without_the_accepted(bucket):
    receipt = ingest(bucket.seed, make_event(), make_event()).json()
    assert receipt == {"accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0, "events": []}


def test_the_seed_receipt_lists_what_was_not_accepted_in_the_order_sent(bucket):
    first, second, third = make_event(), make_event(), make_event()
    ingest(bucket.seed, first, second)
    receipt = ingest(bucket.seed, second | {"subject": "bob"}, third, first).json()
    assert (receipt["accepted"], receipt["duplicates"], receipt["conflicts"]) == (1, 1, 1)
    assert [(one["index"], one["id"], one["status"]) for one in receipt["events"]] == [
        (0, second["id"], "conflict"),
        (2, first["id"], "duplicate"),
    ]


def test_the_full_receipt_lists_every_event(mount):
    first, second = make_event(), make_event(source="elsewhere")
    receipt = receipt_of(mount, first, second, first)
    assert (receipt["accepted"], receipt["duplicates"], receipt["conflicts"], receipt["rejected"]) == (2, 1, 0, 0)
    assert [(one["index"], one["id"], one["source"], one["status"]) for one in receipt["events"]] == [
        (0, first["id"], "tests", "accepted"),
        (1, second["id"], "elsewhere", "accepted"),
        (2, first["id"], "tests", "duplicate"),
    ]


def test_the_full_receipt_of_one_event(mount):
    response = mount.post("/events", json=make_event(id="one"), headers=FULL | JSON)
    assert response.status_code == 200
    assert response.json()["events"] == [{"index": 0, "id": "one", "source": "tests", "status": "accepted"}]


def test_a_preference_does_not_soften_a_refusal(mount):
    refused(mount.post("/events", json=[make_event(subject=5)], headers=FULL))


@pytest.mark.parametrize("other", ["seed", "openmeter"])
def test_what_one_mount_took_the_other_knows(mount, bucket, other):
    event = make_event()
    ingest(mount, event)
    assert receipt_of(bucket.mount(other), event)["duplicates"] == 1
