"""eventFrom: a meter that looks away from older events."""

import pytest

from .make import add_meter, ago, ingest, instant, make_events, query, values, windows

FROM = "2025-01-15T10:00:00.000001Z"


@pytest.fixture
def young(mount):
    """Three events around eventFrom, worth 1 before, 10 at it and 100 after."""
    add_meter(mount, eventFrom=FROM, groupBy={"model": "$.model"})
    ingest(mount, *make_events(1, time="2025-01-15T10:00:00Z", subject="early"))
    ingest(mount, *make_events(10, time=FROM), *make_events(100, time="2025-01-15T11:00:00Z"))
    return mount


def test_older_events_are_not_counted(young):
    assert values(query(young)) == [110]
    assert values(query(young, windowSize="DAY")) == [110]
    assert query(young, subject="early") == []


def test_an_earlier_from_does_not_reach_behind_it(young):
    assert values(query(young, from_="2025-01-01T00:00:00Z")) == [110]


def test_a_later_from_counts_as_ever(young):
    assert values(query(young, from_="2025-01-15T10:30:00Z")) == [100]


def test_answers_show_the_from_that_was_asked(young):
    asked = "2025-01-01T00:00:00Z"
    answer = young.get("/meters/usage/query", params={"from": asked}).json()
    assert instant(answer["from"]) == instant(asked)
    assert windows(answer["data"])[0][0] == instant(asked)


def test_a_range_before_it_is_empty(young):
    assert query(young, from_="2025-01-01T00:00:00Z", to="2025-01-02T00:00:00Z") == []


def test_values_of_groups_reach_behind_it(mount):
    add_meter(mount, eventFrom=ago(hours=1), groupBy={"model": "$.model"})
    ingest(mount, {**make_events(1, time=ago(hours=2))[0], "data": {"model": "old"}})
    assert mount.get("/meters/usage/group-by/model/values").json() == ["old"]


def test_subjects_and_events_reach_behind_it(bucket):
    add_meter(bucket.openmeter, eventFrom=ago(hours=1))
    ingest(bucket.openmeter, *make_events(1, time=ago(hours=2), subject="early"))
    assert bucket.openmeter.get("/meters/usage/subjects").json() == ["early"]
    assert len(bucket.openmeter.get("/events").json()) == 1


def test_an_offset_in_it_is_understood(mount):
    add_meter(mount, eventFrom="2025-01-15T12:00:00+02:00")
    ingest(mount, *make_events(1, time="2025-01-15T09:59:59Z"), *make_events(10, time="2025-01-15T10:00:00Z"))
    assert values(query(mount)) == [10]
