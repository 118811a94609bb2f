"""POST /events: what every member of an event must be."""

import pytest

from .make import MISSING, count_events, ingest, make_event, refused, says

BAD_MEMBERS = [
    *((name, value) for name in ("id", "source", "type", "subject") for value in (MISSING, None, "", 5, True, [], {})),
    *(("specversion", value) for value in (MISSING, None, "", 1.0, 1, "2.0", "1", [])),
    *(("data", value) for value in ("text", 5, True, [], [{"value": 1}])),
    *(("datacontenttype", value) for value in ("text/plain", 5, [], "")),
    *(("dataschema", value) for value in (5, [], {})),
    *(("time", value) for value in (5, 1736935200, 1.5, True, [], {}, "", "now", "yesterday", "10:00:00Z")),
    *(
        ("time", value)
        for value in (
            "2025-01-15",
            "2025-01-15T10:00:00",
            "2025-13-15T10:00:00Z",
            "2025-02-30T10:00:00Z",
            "2025-01-15T25:00:00Z",
            "2025-01-15T10:61:00Z",
            "2025-01-15T10:00:00+25:00",
            "2025-01-15T10:00:00 UTC",
            "2025-01-15T10:00:00Z\n",
            "15.01.2025 10:00",
            "Wed, 15 Jan 2025 10:00:00 GMT",
            "infinity",
            "-infinity",
            "epoch",
            "today",
        )
    ),
]


@pytest.mark.parametrize(("name", "value"), BAD_MEMBERS)
def test_a_bad_member_is_refused_by_name(shared, name, value):
    assert name in says(refused(shared.seed.post("/events", json=make_event(**{name: value}))))
    assert name in says(refused(shared.openmeter.post("/events", json=[make_event(**{name: value})])))


GOOD_MEMBERS = [
    ("time", MISSING),
    ("time", None),
    ("data", MISSING),
    ("data", None),
    ("data", {}),
    ("datacontenttype", "application/json"),
    ("datacontenttype", None),
    ("dataschema", "https://example.com/schema"),
    ("dataschema", None),
    ("source", "https://example.com/a?b=c#d"),
    ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
    ("source", "/relative/path"),
    ("subject", "Åsa Öberg"),
    ("subject", "🧮"),
    ("id", "a b"),
    ("type", "com.example.prompt/v1"),
]


@pytest.mark.parametrize(("name", "value"), GOOD_MEMBERS)
def test_a_good_member_is_taken(mount, name, value):
    ingest(mount, make_event(**{"type": "request", name: value}))


def test_nothing_about_meters_is_checked(bucket):
    ingest(bucket.openmeter, make_event(type="never heard of"), make_event(data={"other": "x"}))
    assert count_events(bucket.openmeter) == 1


def test_a_bad_event_refuses_the_whole_batch(mount):
    events = [make_event() for _ in range(5)]
    events[3] = make_event(subject=MISSING)
    refused(mount.post("/events", json=events))
    assert count_events(mount) == 0


def test_each_bad_event_is_named_once_by_its_place(mount):
    events = [make_event() for _ in range(6)]
    events[1] = make_event(id="")
    events[3] = make_event(subject=5)
    events[5] = make_event(time="yesterday")
    problem = refused(mount.post("/events", json=events))
    assert [word for word in ("events[1].id", "events[3].subject", "events[5].time") if word not in says(problem)] == []
    assert len(problem["extensions"]["validationErrors"]) == 3


def test_an_event_that_is_no_object_is_named_by_its_place(mount):
    assert "events[1]" in says(refused(mount.post("/events", json=[make_event(), "event"])))


def test_a_refused_event_can_be_sent_again_once_it_is_whole(mount):
    event = make_event()
    refused(mount.post("/events", json=[event, make_event(type=MISSING)]))
    ingest(mount, event)
    assert count_events(mount) == 1
