"""GET /api/v1/meters/{meterIdOrSlug}/subjects."""

import pytest

from .make import add_meter, ingest, make_event, refused


@pytest.fixture
def meter(bucket):
    add_meter(bucket.openmeter)
    return bucket.openmeter


def subjects_of(client, **params):
    response = client.get("/meters/usage/subjects", params={name.rstrip("_"): value for name, value in params.items()})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_meter_without_events_has_no_subjects(meter):
    assert subjects_of(meter) == []


def test_every_subject_of_all_time_is_listed_once_in_order(meter):
    times = ("1999-01-01T00:00:00Z", "2025-01-15T10:00:00Z")
    ingest(meter, *(make_event(subject=subject, time=time) for time in times for subject in ("b", "Z", "a", "é")))
    assert subjects_of(meter) == ["Z", "a", "b", "é"]


def test_only_events_of_the_type_count(meter):
    ingest(meter, make_event(subject="a"), make_event(subject="b", type="other"))
    assert subjects_of(meter) == ["a"]


def test_a_range_cuts_the_list(meter):
    for day in (14, 15, 16):
        ingest(meter, make_event(subject=f"d{day}", time=f"2025-01-{day}T00:00:00Z"))
    assert subjects_of(meter, from_="2025-01-15T00:00:00Z") == ["d15", "d16"]
    assert subjects_of(meter, from_="2025-01-14T00:00:01Z", to="2025-01-16T00:00:00Z") == ["d15"]


def test_an_unknown_meter_is_not_found(meter):
    refused(meter.get("/meters/nothing/subjects"), 404)


def test_a_bad_bound_is_refused(meter):
    refused(meter.get("/meters/usage/subjects", params={"from": "yesterday"}))
