"""POST /events: which bodies are taken under which content type."""

import json

import pytest

from .make import JSON, count_events, make_event, refused, says

PLAIN = ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "Application/Json;Charset=UTF-8"]
SINGLE = [
    "application/cloudevents+json",
    "application/cloudevents+json; charset=UTF-8",
    "Application/CloudEvents+JSON;charset=utf-8",
]
BATCH = [
    "application/cloudevents-batch+json",
    "application/cloudevents-batch+json; charset=UTF-8",
    "APPLICATION/CLOUDEVENTS-BATCH+JSON;charset=utf-8",
]


def send(client, content_type, body):
    return client.post("/events", content=json.dumps(body), headers={"Content-Type": content_type})


@pytest.mark.parametrize("content_type", PLAIN + SINGLE)
def test_one_event_is_taken_as_an_object(mount, content_type):
    assert send(mount, content_type, make_event()).is_success
    assert count_events(mount) == 1


@pytest.mark.parametrize("content_type", PLAIN + BATCH)
def test_events_are_taken_as_an_array(mount, content_type):
    assert send(mount, content_type, [make_event(), make_event()]).is_success
    assert count_events(mount) == 2


@pytest.mark.parametrize("content_type", SINGLE)
def test_an_array_is_no_single_event(shared_mount, content_type):
    refused(send(shared_mount, content_type, [make_event()]))


@pytest.mark.parametrize("content_type", BATCH)
def test_an_object_is_no_batch(shared_mount, content_type):
    refused(send(shared_mount, content_type, make_event()))


UNKNOWN = [
    "text/plain",
    "application/xml",
    "application/jsonx",
    "application/cloudevents",
    "json",
    "*/*",
    ";",
    "multipart/form-data",
]


@pytest.mark.parametrize("content_type", UNKNOWN)
def test_another_content_type_is_refused_by_name(shared_mount, content_type):
    problem = refused(send(shared_mount, content_type, make_event()))
    assert "invalid content type" in says(problem)
    assert content_type in says(problem)


def test_a_missing_content_type_is_refused(shared_mount):
    refused(shared_mount.post("/events", content=json.dumps(make_event())))


@pytest.mark.parametrize("content_type", [PLAIN[0], BATCH[0]])
def test_an_empty_array_holds_no_events(shared_mount, content_type):
    assert "no events found" in says(refused(send(shared_mount, content_type, [])))


@pytest.mark.parametrize("content_type", [PLAIN[0], SINGLE[0], BATCH[0]])
def test_an_empty_body_is_refused_and_says_so(shared_mount, content_type):
    problem = refused(shared_mount.post("/events", content=b"", headers={"Content-Type": content_type}))
    assert "empty" in says(problem).lower()


BROKEN = [
    b" ",
    b"{",
    b"[",
    b"[{}",
    b"{'id': 1}",
    b"hello",
    b"{} {}",
    b"[]]",
    b"null",
    b"5",
    b'"event"',
    b"true",
    b"[null]",
    b"[5]",
    b'["event"]',
    b"[[]]",
    b"\xff\xfe",
    b'{"id": "\xff"}',
    b"NaN",
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_body_that_is_no_event_is_refused(shared_mount, content):
    refused(shared_mount.post("/events", content=content, headers=JSON))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x10", "undefined"])
def test_numbers_that_json_does_not_know_are_refused(shared_mount, word):
    content = json.dumps(make_event(data={"value": "?"})).replace('"?"', word)
    refused(shared_mount.post("/events", content=content, headers=JSON))


def test_refused_bodies_store_nothing(bucket):
    for content in BROKEN:
        bucket.seed.post("/events", content=content, headers=JSON)
    assert count_events(bucket.seed) == 0
