"""What each aggregation makes of usable, unusable and odd values."""

import json

import pytest

from .make import JSON, MISSING, add_meter, by_subject, ingest, make_event, make_events, query, values

USABLE = [
    (5, 5),
    (-3, -3),
    (0, 0),
    (1.5, 1.5),
    (1e3, 1000),
    ("12.5", 12.5),
    ("+5", 5),
    ("-5", -5),
    (".5", 0.5),
    ("-.5", -0.5),
    ("5.", 5),
    ("1e3", 1000),
    ("1E3", 1000),
    ("1e+3", 1000),
    ("25e-1", 2.5),
    ("007", 7),
    ("0", 0),
]
UNUSABLE = [
    " 7 ",
    "7 ",
    " 7",
    "7\n",
    "0x10",
    "1,000",
    "1_0",
    "abc",
    "5a",
    "",
    " ",
    ".",
    "+",
    "-",
    "e5",
    "1e",
    "1e+",
    "--5",
    "+-5",
    "1.2.3",
    "\uff11\uff12",
    "٣",
    "½",
    "∞",
    "NaN",
    "nan",
    "Inf",
    "-inf",
    "Infinity",
    "-Infinity",
    "null",
    "true",
    True,
    False,
    None,
    {},
    {"value": 5},
    [],
    [5],
    MISSING,
]


def make_data(value):
    return {} if value is MISSING else {"value": value}


@pytest.fixture(scope="module")
def odd(make_bucket):
    """One subject for each odd value, and a meter for each aggregation, named like it."""
    made = make_bucket()
    for aggregation in ("SUM", "AVG", "MIN", "MAX", "LATEST", "COUNT", "UNIQUE_COUNT"):
        add_meter(made.seed, slug=aggregation.lower(), aggregation=aggregation)
    for number, (value, _) in enumerate(USABLE):
        ingest(made.seed, make_event(subject=f"usable-{number:02}", data=make_data(value)))
    for number, value in enumerate(UNUSABLE):
        ingest(made.seed, make_event(subject=f"unusable-{number:02}", data=make_data(value)))
    ingest(made.seed, make_event(subject="without data", data=None), make_event(subject="without data", data=MISSING))
    return made


@pytest.mark.parametrize("slug", ["sum", "avg", "min", "max", "latest"])
def test_numbers_and_numeric_texts_are_values_and_nothing_else(odd, slug):
    expected = {f"usable-{number:02}": value for number, (_, value) in enumerate(USABLE)}
    assert by_subject(query(odd.seed, slug, groupBy="subject")) == expected


def test_a_count_counts_every_event_whatever_its_data(odd):
    found = by_subject(query(odd.openmeter, "count", groupBy="subject"))
    assert len(found) == len(USABLE) + len(UNUSABLE) + 1
    assert {subject for subject, count in found.items() if count != 1} == {"without data"}


def test_unusable_values_stand_beside_usable_ones_without_harm(odd):
    usable = [value for _, value in USABLE]
    assert values(query(odd.seed, "sum")) == [sum(usable)]
    assert values(query(odd.seed, "avg")) == pytest.approx([sum(usable) / len(usable)], rel=1e-15)
    assert values(query(odd.seed, "min")) == [min(usable)]
    assert values(query(odd.seed, "max")) == [max(usable)]


UNIQUE = [
    ([1, 1.0, "1"], 1),
    ([1.5, "1.5"], 1),
    ([True, "true"], 1),
    ([False, "false", "False"], 2),
    (["a", "b", "a"], 2),
    (["a", "A", " a"], 3),
    (["a", None, "", {}, [], {"a": 1}, [1], MISSING], 1),
    (["a", "null"], 2),
    (["é", "e\u0301"], 2),
    ([0, "0", "00"], 2),
]


@pytest.mark.parametrize(("given", "expected"), UNIQUE)
def test_a_unique_count_counts_the_different_texts(mount, given, expected):
    add_meter(mount, aggregation="UNIQUE_COUNT")
    ingest(mount, *(make_event(data=make_data(value)) for value in given))
    assert values(query(mount)) == [expected]


def test_a_number_has_one_text_however_it_is_spelled(mount):
    add_meter(mount, aggregation="UNIQUE_COUNT")
    content = json.dumps([make_event(data={"value": f"?{n}"}) for n in range(3)])
    for number, spelled in enumerate(("1.5", "1.50", "1.500")):
        content = content.replace(f'"?{number}"', spelled)
    mount.post("/events", content=content, headers=JSON)
    assert values(query(mount)) == [1]


def test_a_unique_count_of_a_whole_is_not_the_sum_of_its_windows(mount):
    add_meter(mount, aggregation="UNIQUE_COUNT")
    days = {"2025-01-15": ("a", "b"), "2025-01-16": ("b", "c")}
    for day, found in days.items():
        ingest(mount, *make_events(*found, time=f"{day}T10:00:00Z"))
    assert values(query(mount, windowSize="DAY")) == [2, 2]
    assert values(query(mount)) == [3]


def test_an_average_is_no_average_of_averages(mount):
    add_meter(mount, aggregation="AVG")
    ingest(mount, *make_events(1, 1, 1, time="2025-01-15T10:00:00Z"), *make_events(9, time="2025-01-16T10:00:00Z"))
    assert values(query(mount, windowSize="DAY")) == [1, 9]
    assert values(query(mount)) == [3]


def test_an_average_counts_only_usable_values(mount):
    add_meter(mount, aggregation="AVG")
    ingest(mount, *make_events(1, "x", None, "2", True), make_event(data={}))
    assert values(query(mount)) == [1.5]


def test_the_smallest_and_largest_are_compared_as_numbers(mount):
    add_meter(mount, slug="least", aggregation="MIN")
    add_meter(mount, slug="most", aggregation="MAX")
    ingest(mount, *make_events(9, "10", "-2", -10, "1e1"))
    assert (values(query(mount, "least")), values(query(mount, "most"))) == ([-10], [10])


def test_a_sum_may_be_zero_or_negative(mount):
    add_meter(mount)
    ingest(mount, *make_events(5, -5, subject="a"), *make_events(5, -7, subject="b"))
    assert by_subject(query(mount, groupBy="subject")) == {"a": 0, "b": -2}


def test_the_latest_is_the_latest_by_the_time_of_the_event(mount):
    add_meter(mount, aggregation="LATEST")
    ingest(mount, *make_events(1, time="2025-01-15T12:00:00Z"))
    ingest(mount, *make_events(2, time="2025-01-15T11:00:00Z"))
    assert values(query(mount)) == [1]


def test_of_the_latest_at_one_instant_the_last_to_arrive_wins(mount):
    add_meter(mount, aggregation="LATEST")
    for value in (3, 1, 2):
        ingest(mount, *make_events(value))
    assert values(query(mount)) == [2]


def test_of_the_latest_in_one_batch_the_last_in_the_batch_wins(mount):
    add_meter(mount, aggregation="LATEST")
    ingest(mount, *make_events(*range(50, 0, -1)))
    assert values(query(mount)) == [1]


def test_the_latest_is_the_latest_to_the_microsecond(mount):
    add_meter(mount, aggregation="LATEST")
    ingest(
        mount, *make_events(1, time="2025-01-15T10:00:00.000002Z"), *make_events(2, time="2025-01-15T10:00:00.000001Z")
    )
    assert values(query(mount)) == [1]


def test_the_latest_is_the_latest_usable_value(mount):
    add_meter(mount, aggregation="LATEST")
    ingest(mount, *make_events(1, time="2025-01-15T10:00:00Z"), *make_events("x", None, time="2025-01-15T11:00:00Z"))
    assert values(query(mount)) == [1]


def test_every_window_has_its_own_latest(mount):
    add_meter(mount, aggregation="LATEST")
    for hour in (10, 12, 11, 34, 33):
        ingest(mount, *make_events(hour, time=f"2025-01-{15 + hour // 24:02}T{hour % 24:02}:00:00Z"))
    assert values(query(mount, windowSize="DAY")) == [12, 34]
    assert values(query(mount)) == [34]


def test_only_events_of_the_type_are_counted(mount):
    add_meter(mount, aggregation="COUNT")
    ingest(mount, make_event(), make_event(type="other"), make_event(type="Request"), make_event(type="request "))
    assert values(query(mount)) == [1]


def test_meters_of_one_type_each_see_every_event(mount):
    add_meter(mount, slug="input", valueProperty="$.input")
    add_meter(mount, slug="output", valueProperty="$.output")
    add_meter(mount, slug="calls", aggregation="COUNT")
    ingest(mount, make_event(data={"input": 2, "output": 3}), make_event(data={"input": 4}))
    assert [values(query(mount, slug)) for slug in ("input", "output", "calls")] == [[6], [3], [2]]


def test_an_acknowledged_event_is_counted_by_the_next_query(bucket):
    add_meter(bucket.seed)
    for number in range(1, 21):
        ingest(bucket.mount("seed" if number % 2 else "openmeter"), make_event())
        assert values(query(bucket.seed)) == [number]
