"""Limits: a body of 8 MiB, 10 000 events a batch, 64 KiB an event."""

import json

import pytest

from .make import JSON, count_events, ingest, make_event, make_meter, refused

BODY_BYTES = 8 * 1024 * 1024
EVENT_BYTES = 64 * 1024
BATCH_EVENTS = 10_000


def padded(event, size):
    return json.dumps([event]).encode().ljust(size)


def make_small_events(count):
    return [
        {"id": str(n), "source": "s", "specversion": "1.0", "type": "request", "subject": "a"} for n in range(count)
    ]


def test_a_body_of_eight_mebibytes_is_taken(mount):
    assert mount.post("/events", content=padded(make_event(), BODY_BYTES), headers=JSON).is_success
    assert count_events(mount) == 1


def test_a_larger_body_is_too_large(mount):
    problem = refused(mount.post("/events", content=padded(make_event(), BODY_BYTES + 1), headers=JSON), 413)
    assert problem["title"] == "Content Too Large"
    assert count_events(mount) == 0


def test_a_larger_body_sent_in_chunks_is_too_large(mount):
    chunks = (b" " * 65536 for _ in range(BODY_BYTES // 65536 + 1))
    refused(mount.post("/events", content=chunks, headers=JSON), 413)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/meters"), ("PUT", "/meters/usage"), ("POST", "/meters/usage/query")]
)
def test_every_route_refuses_a_larger_body(shared_mount, method, path):
    shared_mount.post("/meters", json=make_meter())
    refused(shared_mount.request(method, path, content=b"{}".ljust(BODY_BYTES + 1), headers=JSON), 413)


def test_ten_thousand_events_are_one_batch(bucket):
    ingest(bucket.seed, *make_small_events(BATCH_EVENTS))
    assert count_events(bucket.seed) == BATCH_EVENTS


@pytest.mark.parametrize("params", [{}, {"partial": "true"}])
def test_more_events_are_refused_and_none_stored(mount, params):
    refused(mount.post("/events", json=make_small_events(BATCH_EVENTS + 1), params=params))
    assert count_events(mount) == 0


def make_event_of(size):
    event = make_event(data={"value": 1, "text": ""})
    bare = len(json.dumps(event, separators=(",", ":")))
    return event | {"data": {"value": 1, "text": "x" * (size - bare)}}


def test_an_event_of_nearly_64_kibibytes_is_taken(mount):
    ingest(mount, make_event_of(EVENT_BYTES - 64))
    assert count_events(mount) == 1


def test_a_larger_event_is_refused_by_its_place_and_none_stored(mount):
    problem = refused(mount.post("/events", json=[make_event(), make_event_of(EVENT_BYTES + 1)]))
    assert "events[1]" in json.dumps(problem)
    assert count_events(mount) == 0


def test_the_size_of_an_event_is_measured_in_bytes(mount):
    event = make_event(data={"text": "é" * (EVENT_BYTES // 2)})
    refused(mount.post("/events", content=json.dumps([event], ensure_ascii=False).encode(), headers=JSON))


@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_a_very_long_name_is_taken_or_refused_but_never_breaks(mount, name):
    answer = mount.post("/events", json=[make_event(**{name: "x" * 20_000})])
    assert answer.status_code in (200, 204, 400)
    ingest(mount, make_event(type="request"))
