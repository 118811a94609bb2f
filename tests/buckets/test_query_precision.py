"""Values are exact decimals from the event to the answer."""

import json
from decimal import Decimal

import pytest

from .make import JSON, add_meter, exact, ingest, make_event, make_events, value_texts


def ingest_numbers(client, *numbers):
    """Events whose values are spelled in JSON exactly as given."""
    content = json.dumps([make_event(data={"value": f"?{n}?"}) for n in range(len(numbers))])
    for place, number in enumerate(numbers):
        content = content.replace(f'"?{place}?"', number)
    assert client.post("/events", content=content, headers=JSON).is_success


def result(client, **params):
    return [row["value"] for row in exact(client.get("/meters/usage/query", params=params))["data"]]


def test_ten_tenths_are_one(mount):
    add_meter(mount)
    ingest(mount, *make_events(*[0.1] * 10))
    assert value_texts(mount.get("/meters/usage/query")) == ["1"]


def test_ten_tenths_as_texts_are_one(mount):
    add_meter(mount)
    ingest(mount, *make_events(*["0.1"] * 10))
    assert value_texts(mount.get("/meters/usage/query")) == ["1"]


LONG = [
    "1152921504606846977",
    "-1152921504606846977",
    "9007199254740993",
    "0.123456789012345678901234567890",
    "123456789012345678901234567890",
    "12345678901234567890.1234567890123456789",
    "0.000000000000000000000000000001",
]


@pytest.mark.parametrize("number", LONG)
@pytest.mark.parametrize("aggregation", ["SUM", "MIN", "MAX", "LATEST", "AVG"])
def test_a_long_number_keeps_all_its_digits(bucket, aggregation, number):
    add_meter(bucket.seed, aggregation=aggregation)
    ingest_numbers(bucket.seed, number)
    assert result(bucket.seed) == [Decimal(number)]


@pytest.mark.parametrize("number", LONG)
def test_a_long_text_keeps_all_its_digits(mount, number):
    add_meter(mount)
    ingest(mount, *make_events(number))
    assert result(mount) == [Decimal(number)]


def test_a_sum_of_long_and_short_keeps_every_digit(mount):
    add_meter(mount)
    ingest_numbers(mount, "123456789012345678901234567890", "0.000000000000000000000000000001", "-0.5", "1e10")
    assert result(mount) == [Decimal("123456789012345678911234567889.500000000000000000000000000001")]


def test_neighbours_that_floats_cannot_tell_apart_are_told_apart(mount):
    for slug, aggregation in (("usage", "MAX"), ("unique", "UNIQUE_COUNT")):
        add_meter(mount, slug=slug, aggregation=aggregation)
    ingest_numbers(mount, "9007199254740992", "9007199254740993")
    assert result(mount) == [Decimal(9007199254740993)]
    assert value_texts(mount.get("/meters/unique/query")) == ["2"]


def test_a_sum_of_many_small_parts_does_not_drift(mount):
    add_meter(mount)
    ingest(mount, *make_events(*[0.001] * 1_000, time="2025-01-15T10:00:00Z"))
    ingest(mount, *make_events(*["0.002"] * 1_000, time="2025-01-16T10:00:00Z"))
    assert result(mount) == [Decimal(3)]
    assert result(mount, windowSize="DAY") == [Decimal(1), Decimal(2)]


AVERAGES = [
    (["1", "2"], "1.5"),
    (["0.1", "0.2", "0.3"], "0.2"),
    (["1", "1", "2", "4"], "2"),
    (["1152921504606846977", "1152921504606846979"], "1152921504606846978"),
    (["0.000000000000000000000000000001", "0.000000000000000000000000000003"], "0.000000000000000000000000000002"),
    (["-1", "1"], "0"),
]


@pytest.mark.parametrize(("numbers", "expected"), AVERAGES)
def test_an_average_that_ends_is_exact(mount, numbers, expected):
    add_meter(mount, aggregation="AVG")
    ingest_numbers(mount, *numbers)
    assert result(mount) == [Decimal(expected)]


def test_an_average_without_end_is_right_to_sixteen_digits(mount):
    add_meter(mount, aggregation="AVG")
    ingest_numbers(mount, "1", "1", "2")
    assert abs(result(mount)[0] - Decimal(4) / 3) < Decimal("1e-15")


SPELLINGS = [
    ("1.0", "1"),
    ("1.50", "1.5"),
    ("100", "100"),
    ("1e2", "100"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("0.10", "0.1"),
    ("-2.500", "-2.5"),
    ("12.5e1", "125"),
    ("0.0", "0"),
]


@pytest.mark.parametrize(("sent", "shown"), SPELLINGS)
@pytest.mark.parametrize("aggregation", ["SUM", "MAX", "LATEST", "AVG"])
def test_a_value_is_shown_in_its_shortest_form(bucket, aggregation, sent, shown):
    add_meter(bucket.seed, aggregation=aggregation)
    ingest_numbers(bucket.seed, sent)
    assert value_texts(bucket.seed.get("/meters/usage/query")) == [shown]


def test_a_count_is_a_whole_number(mount):
    add_meter(mount, aggregation="COUNT")
    ingest(mount, make_event(), make_event())
    assert value_texts(mount.get("/meters/usage/query")) == ["2"]
