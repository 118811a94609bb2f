"""Windows are the calendar of a time zone, compared with a calculation of their own over zoneinfo."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from .make import add_meter, ingest, instant, make_event, query, refused, windows

STEP = timedelta(minutes=1)
REACH = {"MINUTE": 2, "HOUR": 70, "DAY": 60 * 26, "MONTH": 60 * 24 * 33}


def name_of_window(moment, size, zone):
    """What all instants of one window have in common: the wall clock, cut off; for hours and minutes with its offset."""
    local = moment.astimezone(zone)
    if size in ("DAY", "MONTH"):
        return (local.year, local.month, local.day if size == "DAY" else 0)
    return (local.date(), local.hour, local.minute if size == "MINUTE" else 0, local.utcoffset())


def window_of(moment, size, zone):
    """The longest run of minutes around the moment that share its name."""
    base = moment.replace(second=0, microsecond=0)
    name = name_of_window(base, size, zone)

    def edge(direction):
        inside, outside = 0, REACH[size]
        while outside - inside > 1:
            middle = (inside + outside) // 2
            same = name_of_window(base + direction * middle * STEP, size, zone) == name
            inside, outside = (middle, outside) if same else (inside, middle)
        return base + direction * inside * STEP

    return edge(-1), edge(1) + STEP


def expected_windows(times, size, zone):
    counts = defaultdict(int)
    for time in times:
        counts[window_of(time, size, zone)] += 1
    return [(start, end, count) for (start, end), count in sorted(counts.items())]


def times_around(day, minutes):
    middle = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    steps = int(timedelta(hours=40) / timedelta(minutes=minutes))
    return [middle + timedelta(minutes=minutes * n, seconds=n % 60, microseconds=n) for n in range(-steps, steps)]


PLACES = [
    ("America/Los_Angeles", "2025-03-09"),
    ("America/Los_Angeles", "2025-11-02"),
    ("Asia/Kolkata", "2025-01-15"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("Europe/Stockholm", "2025-03-30"),
    ("Europe/Stockholm", "2025-10-26"),
    ("America/Havana", "2025-11-02"),
    ("Asia/Kathmandu", "2025-01-31"),
    ("Pacific/Apia", "2011-12-30"),
    ("UTC", "2024-02-29"),
]


@pytest.mark.parametrize(("zone", "day"), PLACES)
@pytest.mark.parametrize("mount_name", ["seed", "openmeter"])
def test_windows_follow_the_calendar_of_the_zone(bucket, mount_name, zone, day):
    client = bucket.mount(mount_name)
    times = times_around(day, minutes=29)
    add_meter(client, aggregation="COUNT")
    ingest(client, *(make_event(time=time.isoformat()) for time in times))
    for size in ("MINUTE", "HOUR", "DAY", "MONTH"):
        found = windows(query(client, windowSize=size, windowTimeZone=zone))
        assert found == expected_windows(times, size, ZoneInfo(zone)), size


@pytest.mark.parametrize("day", ["2025-04-06", "2025-10-05"])
@pytest.mark.parametrize("size", ["MINUTE", "DAY", "MONTH", "HOUR"])
def test_half_an_hour_of_daylight_saving_is_followed(bucket, day, size):
    times = times_around(day, minutes=13)
    add_meter(bucket.seed, aggregation="COUNT")
    ingest(bucket.seed, *(make_event(time=time.isoformat()) for time in times))
    found = windows(query(bucket.seed, windowSize=size, windowTimeZone="Australia/Lord_Howe"))
    assert found == expected_windows(times, size, ZoneInfo("Australia/Lord_Howe"))


KNOWN = [
    ("America/Los_Angeles", "DAY", "2025-03-09T08:00:00Z", "2025-03-10T07:00:00Z"),
    ("America/Los_Angeles", "DAY", "2025-11-02T07:00:00Z", "2025-11-03T08:00:00Z"),
    ("America/Los_Angeles", "MONTH", "2025-11-01T07:00:00Z", "2025-12-01T08:00:00Z"),
    ("America/Los_Angeles", "HOUR", "2025-11-02T08:00:00Z", "2025-11-02T09:00:00Z"),
    ("America/Los_Angeles", "HOUR", "2025-11-02T09:00:00Z", "2025-11-02T10:00:00Z"),
    ("Asia/Kolkata", "HOUR", "2025-01-15T09:30:00Z", "2025-01-15T10:30:00Z"),
    ("America/Sao_Paulo", "DAY", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
    ("Europe/Stockholm", "DAY", "2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"),
    ("UTC", "MONTH", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ("UTC", "MINUTE", "2025-01-15T10:00:00Z", "2025-01-15T10:01:00Z"),
]


@pytest.mark.parametrize(("zone", "size", "start", "end"), KNOWN)
def test_a_window_holds_its_start_and_not_its_end(bucket, zone, size, start, end):
    start, end = instant(start), instant(end)
    add_meter(bucket.seed, aggregation="COUNT")
    last = end - timedelta(microseconds=1)
    before = start - timedelta(microseconds=1)
    ingest(bucket.seed, *(make_event(time=time.isoformat()) for time in (before, start, last, end)))
    found = windows(query(bucket.seed, windowSize=size, windowTimeZone=zone))
    assert [count for _, _, count in found] == [1, 2, 1]
    assert found[1] == (start, end, 2)
    assert (found[0][1], found[2][0]) == (start, end)


def test_the_zone_is_utc_unless_told(mount):
    add_meter(mount)
    ingest(mount, make_event(time="2025-01-15T23:30:00Z"))
    day = instant("2025-01-15T00:00:00Z")
    assert windows(query(mount, windowSize="DAY")) == [(day, day + timedelta(days=1), 1)]


def test_windows_are_whole_even_where_the_range_cuts_them(mount):
    add_meter(mount)
    ingest(mount, *(make_event(time=f"2025-01-15T{hour:02}:00:00Z") for hour in (1, 10, 11, 20)))
    rows = query(mount, windowSize="DAY", from_="2025-01-15T09:00:00Z", to="2025-01-15T12:00:00Z")
    day = instant("2025-01-15T00:00:00Z")
    assert windows(rows) == [(day, day + timedelta(days=1), 2)]


def test_empty_windows_are_left_out(mount):
    add_meter(mount)
    ingest(mount, make_event(time="2025-01-15T10:00:00Z"), make_event(time="2025-03-15T10:00:00Z"))
    rows = query(mount, windowSize="DAY", from_="2025-01-01T00:00:00Z", to="2025-04-01T00:00:00Z")
    assert [row["windowStart"][:10] for row in rows] == ["2025-01-15", "2025-03-15"]


def test_events_out_of_order_meet_in_their_window(mount):
    add_meter(mount)
    for hour in (20, 3, 12):
        ingest(mount, make_event(time=f"2025-01-15T{hour:02}:00:00Z"))
    assert [row["value"] for row in query(mount, windowSize="DAY")] == [3]


def test_every_group_has_its_own_windows(mount):
    add_meter(mount)
    ingest(mount, make_event(subject="a"), make_event(subject="b", time="2025-01-16T10:00:00Z"))
    rows = query(mount, windowSize="DAY", groupBy="subject")
    assert [(row["subject"], row["windowStart"][:10]) for row in rows] == [("a", "2025-01-15"), ("b", "2025-01-16")]


def test_a_window_of_now_is_told_before_it_ends(mount):
    add_meter(mount)
    now = datetime.now(UTC)
    ingest(mount, make_event(time=now.isoformat()))
    [(start, end, _)] = windows(query(mount, windowSize="MONTH"))
    assert start <= now < end


BAD_ZONES = [
    "Mars/Olympus",
    "Europe/Atlantis",
    "+02:00x",
    "../../etc/passwd",
    "/etc/localtime",
    "UTC\u0000",
    "zone.tab",
    "Europe",
    "x" * 5_000,
    "'; select 1; --",
]


@pytest.mark.parametrize("zone", BAD_ZONES)
def test_an_unknown_zone_is_refused(shared_mount, zone):
    shared_mount.post("/meters", json={"slug": "usage", "aggregation": "COUNT", "eventType": "request"})
    params = {"windowSize": "DAY", "windowTimeZone": zone}
    refused(shared_mount.get("/meters/usage/query", params=params))
    refused(shared_mount.post("/meters/usage/query", json=params))


@pytest.mark.parametrize("size", ["day", "SECOND", "WEEK", "YEAR", "", "P1D", "DAY,HOUR"])
def test_an_unknown_window_is_refused(shared_mount, size):
    shared_mount.post("/meters", json={"slug": "usage", "aggregation": "COUNT", "eventType": "request"})
    refused(shared_mount.get("/meters/usage/query", params={"windowSize": size}))
    refused(shared_mount.post("/meters/usage/query", json={"windowSize": size}))
