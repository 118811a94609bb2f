"""Which events a range takes, and the times of a row without windows."""

from datetime import timedelta

import pytest

from .make import add_meter, ingest, instant, make_event, query, refused, values, windows

TEN = "2025-01-15T10:00:00Z"
ELEVEN = "2025-01-15T11:00:00Z"


@pytest.fixture
def hours(mount):
    """A sum, and one event at each hour from nine to twelve, worth 1, 10, 100 and 1000."""
    add_meter(mount)
    ingest(mount, *(make_event(time=f"2025-01-15T{9 + n:02}:00:00Z", data={"value": 10**n}) for n in range(4)))
    return mount


def test_from_is_inclusive(hours):
    assert values(query(hours, from_=TEN)) == [1110]


def test_to_is_inclusive_on_the_seed_mount(bucket):
    add_meter(bucket.seed)
    ingest(bucket.seed, make_event(time=TEN))
    assert values(query(bucket.seed, to=TEN)) == [1]
    assert query(bucket.openmeter, to=TEN) == []


def test_to_is_inclusive_for_windows_of_the_seed_mount_too(bucket):
    add_meter(bucket.seed)
    ingest(bucket.seed, make_event(time="2025-01-15T00:00:00Z"))
    bounds = {"from_": "2025-01-14T00:00:00Z", "to": "2025-01-15T00:00:00Z", "windowSize": "DAY"}
    assert values(query(bucket.seed, **bounds)) == [1]
    assert query(bucket.openmeter, **bounds) == []


def test_a_range_takes_what_lies_inside(bucket, hours):
    inclusive = hours is bucket.seed
    assert values(query(hours, from_=TEN, to=ELEVEN)) == [110 if inclusive else 10]


@pytest.mark.parametrize(("shift", "taken"), [(-1, False), (0, True), (1, True)])
def test_from_is_compared_to_the_microsecond(mount, shift, taken):
    add_meter(mount)
    at = instant("2025-01-15T10:00:00.500000Z")
    ingest(mount, make_event(time=(at + timedelta(microseconds=shift)).isoformat()))
    assert values(query(mount, from_=at.isoformat())) == ([1] if taken else [])


@pytest.mark.parametrize(("shift", "seed", "openmeter"), [(-1, [1], [1]), (0, [1], []), (1, [], [])])
def test_to_is_compared_to_the_microsecond(bucket, shift, seed, openmeter):
    add_meter(bucket.seed)
    at = instant("2025-01-15T10:00:00.500000Z")
    ingest(bucket.seed, make_event(time=(at + timedelta(microseconds=shift)).isoformat()))
    assert values(query(bucket.seed, to=at.isoformat())) == seed
    assert values(query(bucket.openmeter, to=at.isoformat())) == openmeter


@pytest.mark.parametrize("text", ["2025-01-15T11:00:00+01:00", "2025-01-15T10:00:00.000Z", "2025-01-15T00:00:00-10:00"])
def test_a_bound_may_be_written_in_any_offset(hours, text):
    assert values(query(hours, from_=text)) == [1110]


def test_windowed_bounds_cut_inside_a_minute(mount):
    add_meter(mount)
    ingest(mount, *(make_event(time=f"2025-01-15T10:00:{second:02}Z") for second in (0, 10, 20, 30)))
    rows = query(mount, windowSize="MINUTE", from_="2025-01-15T10:00:05Z", to="2025-01-15T10:00:25Z")
    assert windows(rows) == [(instant(TEN), instant("2025-01-15T10:01:00Z"), 2)]


def test_equal_bounds_are_an_instant_on_the_seed_mount(bucket):
    add_meter(bucket.seed)
    ingest(bucket.seed, make_event(time=TEN), make_event(time=ELEVEN))
    assert values(query(bucket.seed, from_=TEN, to=TEN)) == [1]
    assert query(bucket.seed, from_="2025-01-15T10:30:00Z", to="2025-01-15T10:30:00Z") == []


def test_equal_bounds_are_refused_on_the_openmeter_mount(bucket):
    add_meter(bucket.openmeter)
    refused(bucket.openmeter.get("/meters/usage/query", params={"from": TEN, "to": TEN}))
    refused(bucket.openmeter.post("/meters/usage/query", json={"from": TEN, "to": TEN}))
    refused(bucket.openmeter.get("/meters/usage/query", params={"from": TEN, "to": "2025-01-15T11:00:00+01:00"}))


def test_bounds_in_the_wrong_order_are_refused(mount):
    add_meter(mount)
    refused(mount.get("/meters/usage/query", params={"from": ELEVEN, "to": TEN}))
    refused(mount.post("/meters/usage/query", json={"from": ELEVEN, "to": TEN}))


@pytest.mark.parametrize("bound", ["from", "to"])
@pytest.mark.parametrize(
    "text", ["", "now", "2025-01-15", "2025-01-15T10:00:00", "1736935200", "2025-02-30T00:00:00Z", "infinity", "\u0000"]
)
def test_a_bound_that_is_no_instant_is_refused(shared_mount, bound, text):
    shared_mount.post("/meters", json={"slug": "usage", "aggregation": "COUNT", "eventType": "request"})
    refused(shared_mount.get("/meters/usage/query", params={bound: text}))
    refused(shared_mount.post("/meters/usage/query", json={bound: text}))


@pytest.mark.parametrize("bound", ["from", "to"])
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "2025-01-15T10:00:00.123456789Z",
        "2016-12-31T23:59:60Z",
        "2025-01-15T10:00:00+23:59",
    ],
)
def test_a_bound_at_the_edge_of_the_calendar_never_breaks(shared_mount, bound, text):
    shared_mount.post("/meters", json={"slug": "usage", "aggregation": "COUNT", "eventType": "request"})
    for params in ({bound: text}, {bound: text, "windowSize": "MONTH", "windowTimeZone": "Asia/Tokyo"}):
        assert shared_mount.get("/meters/usage/query", params=params).status_code in (200, 400)


def test_a_row_without_windows_spans_whole_minutes(mount):
    add_meter(mount)
    ingest(mount, make_event(time="2025-01-15T10:00:59.9Z"), make_event(time="2025-01-15T12:34:00.000001Z"))
    assert windows(query(mount)) == [(instant(TEN), instant("2025-01-15T12:35:00Z"), 2)]


def test_the_minute_of_the_last_event_is_whole_even_at_its_start(mount):
    add_meter(mount)
    ingest(mount, make_event(time=TEN))
    assert windows(query(mount)) == [(instant(TEN), instant("2025-01-15T10:01:00Z"), 1)]


def test_given_bounds_stand_for_the_minutes(mount):
    add_meter(mount)
    ingest(mount, make_event(time="2025-01-15T10:00:30Z"))
    start, end = "2025-01-15T09:59:59.5Z", "2025-01-15T12:00:00.25Z"
    minute = instant(TEN), instant("2025-01-15T10:01:00Z")
    assert windows(query(mount, from_=start, to=end)) == [(instant(start), instant(end), 1)]
    assert windows(query(mount, from_=start)) == [(instant(start), minute[1], 1)]
    assert windows(query(mount, to=end)) == [(minute[0], instant(end), 1)]


def test_each_group_spans_its_own_minutes(mount):
    add_meter(mount)
    ingest(mount, make_event(subject="a", time=TEN), make_event(subject="b", time=ELEVEN))
    starts = [row["windowStart"] for row in query(mount, groupBy="subject")]
    assert [instant(start) for start in starts] == [instant(TEN), instant(ELEVEN)]


def test_what_was_asked_is_echoed(mount):
    add_meter(mount)
    asked = {"from": TEN, "to": ELEVEN, "windowSize": "DAY"}
    for answer in (
        mount.get("/meters/usage/query", params=asked).json(),
        mount.post("/meters/usage/query", json=asked).json(),
    ):
        assert (instant(answer["from"]), instant(answer["to"])) == (instant(TEN), instant(ELEVEN))
        assert answer["windowSize"] == "DAY"


def test_what_was_not_asked_is_not_echoed(mount):
    add_meter(mount)
    assert mount.get("/meters/usage/query").json() == {"data": []}


@pytest.mark.parametrize("aggregation", ["SUM", "AVG", "MIN", "MAX", "LATEST"])
def test_without_events_there_is_no_row(mount, aggregation):
    add_meter(mount, aggregation=aggregation)
    assert query(mount) == []
    assert query(mount, from_=TEN, to=ELEVEN) == []


@pytest.mark.parametrize("aggregation", ["COUNT", "UNIQUE_COUNT"])
def test_without_events_a_count_is_a_row_of_zero_on_the_openmeter_mount(bucket, aggregation):
    add_meter(bucket.openmeter, aggregation=aggregation)
    [row] = query(bucket.openmeter)
    assert windows([row]) == [(instant("1970-01-01T00:00:00Z"), instant("1970-01-01T00:01:00Z"), 0)]
    assert (row["subject"], row["groupBy"]) == (None, {})
    assert windows(query(bucket.openmeter, from_=TEN, to=ELEVEN)) == [(instant(TEN), instant(ELEVEN), 0)]


@pytest.mark.parametrize("aggregation", ["COUNT", "UNIQUE_COUNT"])
def test_without_events_a_count_has_no_row_on_the_seed_mount(bucket, aggregation):
    add_meter(bucket.seed, aggregation=aggregation)
    assert query(bucket.seed) == []
    assert query(bucket.seed, from_=TEN, to=ELEVEN) == []


@pytest.mark.parametrize("aggregation", ["COUNT", "UNIQUE_COUNT"])
def test_without_events_windows_and_groups_have_no_rows(mount, aggregation):
    add_meter(mount, aggregation=aggregation, groupBy={"model": "$.model"})
    for params in ({"windowSize": "DAY"}, {"groupBy": "model"}, {"groupBy": "subject"}, {"subject": "alice"}):
        assert query(mount, **params) == []


def test_a_filter_without_match_is_a_count_of_zero_on_the_openmeter_mount(bucket):
    add_meter(bucket.openmeter, aggregation="COUNT", groupBy={"model": "$.model"})
    ingest(bucket.openmeter, make_event(data={"model": "a"}))
    assert values(query(bucket.openmeter, **{"filterGroupBy[model]": "b"})) == [0]
