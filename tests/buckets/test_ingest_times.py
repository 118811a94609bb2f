"""When an event happened: its time, or the moment it arrived."""

from datetime import UTC, datetime, timedelta

import pytest

from .make import JSON, MISSING, add_meter, by_subject, count_events, ingest, instant, make_event, query, values

SAME_INSTANT = [
    "2025-01-15T10:00:00Z",
    "2025-01-15T10:00:00.000Z",
    "2025-01-15T10:00:00.000000+00:00",
    "2025-01-15T15:30:00+05:30",
    "2025-01-15T02:00:00-08:00",
    "2025-01-15T10:00:00-00:00",
    "2025-01-16T00:00:00+14:00",
    "2025-01-14T22:00:00-12:00",
]


@pytest.mark.parametrize("time", SAME_INSTANT)
def test_an_offset_is_a_way_to_write_the_same_instant(bucket, time):
    add_meter(bucket.seed)
    ingest(bucket.seed, make_event(time=time))
    assert values(query(bucket.seed, from_="2025-01-15T10:00:00Z", to="2025-01-15T10:00:00Z")) == [1]


@pytest.mark.parametrize(
    ("time", "bound"),
    [
        ("2025-01-15T10:00:00.123456Z", "2025-01-15T10:00:00.123456Z"),
        ("2025-01-15T10:00:00.1Z", "2025-01-15T10:00:00.100000Z"),
        ("2025-01-15T10:00:00.999999Z", "2025-01-15T10:00:00.999999Z"),
        ("2025-01-15T11:00:00.000001+01:00", "2025-01-15T10:00:00.000001Z"),
    ],
)
def test_a_time_is_kept_to_the_microsecond(bucket, time, bound):
    add_meter(bucket.seed)
    ingest(bucket.seed, make_event(time=time))
    assert values(query(bucket.seed, from_=bound, to=bound)) == [1]


def test_nanoseconds_are_taken(mount):
    ingest(mount, make_event(time="2025-01-15T10:00:00.123456789Z"))
    assert count_events(mount) == 1


@pytest.mark.parametrize("time", [MISSING, None])
def test_an_event_without_time_happened_when_it_arrived(mount, time):
    add_meter(mount)
    before = datetime.now(UTC) - timedelta(seconds=5)
    ingest(mount, make_event(time=time))
    after = datetime.now(UTC) + timedelta(seconds=5)
    assert values(query(mount, from_=before.isoformat(), to=after.isoformat())) == [1]


EDGES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
    "0000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "2016-12-31T23:59:60Z",
    "2025-01-15T24:00:00Z",
    "2025-01-15t10:00:00z",
    "2025-01-15 10:00:00Z",
]


@pytest.mark.odd_requests("a blank for the T")
@pytest.mark.parametrize("time", EDGES)
def test_a_time_at_the_edge_of_the_calendar_never_breaks_a_query(bucket, time):
    add_meter(bucket.seed)
    assert bucket.seed.post("/events", json=[make_event(time=time)]).status_code in (200, 400)
    ingest(bucket.seed, make_event(subject="sane"))
    assert by_subject(query(bucket.seed, groupBy="subject"))["sane"] == 1
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        for size in ("MINUTE", "HOUR", "DAY", "MONTH"):
            rows = query(bucket.seed, groupBy="subject", windowSize=size, windowTimeZone=zone)
            assert by_subject(rows)["sane"] == 1


def test_events_of_all_years_are_counted(mount):
    add_meter(mount)
    ingest(mount, *(make_event(time=f"{year}-06-01T00:00:00Z") for year in (1970, 1999, 2038, 2106, 2500)))
    assert [row["windowStart"][:4] for row in query(mount, windowSize="DAY")] == [
        "1970",
        "1999",
        "2038",
        "2106",
        "2500",
    ]


def test_a_listed_event_shows_its_time(bucket):
    time = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    bucket.openmeter.post("/events", json=make_event(time=time), headers=JSON)
    assert instant(bucket.openmeter.get("/events").json()[0]["event"]["time"]) == datetime.fromisoformat(time)
