"""What the listing of events says about each event, next to the meters of its type."""

import pytest

from .make import add_customer, add_meter, ago, ingest, make_event


def error_of(bucket, **changes):
    ingest(bucket.openmeter, make_event(time=ago(hours=1), **changes))
    [item] = bucket.openmeter.get("/events").json()
    return item.get("validationError") or ""


UNUSABLE = [
    (None, "invalid event: null and missing value property"),
    ({}, 'invalid event: missing value property: "$.value"'),
    ({"other": 1}, 'invalid event: missing value property: "$.value"'),
    ({"value": None}, "invalid event: value cannot be null"),
    ({"value": "NaN"}, "invalid event: value cannot be NaN"),
    ({"value": "Inf"}, "invalid event: value cannot be infinity"),
    ({"value": "abc"}, "invalid event: value cannot be parsed as float64: abc"),
    ({"value": True}, "unsupported value property type: bool"),
]


@pytest.mark.parametrize(("data", "expected"), UNUSABLE)
def test_an_unusable_value_is_told(bucket, data, expected):
    add_meter(bucket.openmeter)
    assert expected in error_of(bucket, data=data).split("\n")


@pytest.mark.parametrize("value", [1, -1, 0, 1.5, "1", "1.5", "+5", ".5", "5.", "1e3"])
@pytest.mark.parametrize("aggregation", ["SUM", "MIN", "MAX", "AVG", "LATEST"])
def test_a_usable_value_is_no_error(bucket, aggregation, value):
    add_meter(bucket.openmeter, aggregation=aggregation)
    add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["alice"]})
    assert error_of(bucket, data={"value": value}) == ""


def test_a_count_finds_no_error_in_any_data(bucket):
    add_meter(bucket.openmeter, aggregation="COUNT")
    add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["alice"]})
    assert error_of(bucket, data=None) == ""


def test_a_type_without_meter_is_told(bucket):
    assert "no meter found for event type: strange" in error_of(bucket, type="strange").split("\n")


def test_a_type_whose_meter_is_deleted_is_told(bucket):
    add_meter(bucket.openmeter)
    bucket.openmeter.delete("/meters/usage")
    assert "no meter found for event type: request" in error_of(bucket).split("\n")


def test_a_subject_without_customer_is_told(bucket):
    add_meter(bucket.openmeter)
    assert error_of(bucket, subject="stranger") == "no customer found for event subject: stranger"


def test_several_errors_stand_on_lines_of_their_own(bucket):
    add_meter(bucket.openmeter, slug="one", valueProperty="$.one")
    add_meter(bucket.openmeter, slug="two", valueProperty="$.two")
    lines = error_of(bucket, data={}).split("\n")
    assert {'invalid event: missing value property: "$.one"', 'invalid event: missing value property: "$.two"'} < {
        *lines
    }


def test_the_error_follows_the_meters_of_today(bucket):
    add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["alice"]})
    assert "no meter found" in error_of(bucket)
    add_meter(bucket.openmeter)
    [item] = bucket.openmeter.get("/events").json()
    assert not item.get("validationError")
