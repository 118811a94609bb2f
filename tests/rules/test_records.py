from decimal import Decimal

import pytest

from meterhouse.rules.records import (
    MISSING,
    as_number,
    canonical_json,
    compare,
    equal,
    find,
    put,
    text_of,
    tidy,
    without,
)

RECORD = {"a": {"b": [{"c": 1}, 2]}, "x.y": "dotted", "n": None, "p": {"q.r": 3}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b.0.c", 1),
        ("a.b[0].c", 1),
        ("a.b[1]", 2),
        ("a.b[2]", MISSING),
        ("a.b.c", MISSING),
        ("x.y", "dotted"),
        ("p.q.r", 3),
        ("n", None),
        ("n.o", MISSING),
        ("", MISSING),
        ("a..b", MISSING),
    ],
)
def test_a_path_reaches_inside_objects_and_lists(path, value):
    assert find(RECORD, path) == value


def test_putting_inside_an_object_leaves_the_original_as_it_was():
    original = {"a": {"b": 1}}
    record = dict(original)
    put(record, "a.c.d", 2)
    assert record == {"a": {"b": 1, "c": {"d": 2}}}
    assert original == {"a": {"b": 1}}


def test_putting_inside_what_is_no_object_makes_a_dotted_name():
    record = {"a": 1}
    put(record, "a.b", 2)
    assert record == {"a": 1, "a.b": 2}


@pytest.mark.parametrize(
    ("path", "left"), [("a", {"b": 1}), ("b", {"a": {"c": 2, "d": 3}}), ("a.c", {"a": {"d": 3}, "b": 1})]
)
def test_a_field_is_left_out_wherever_it_is(path, left):
    assert without({"a": {"c": 2, "d": 3}, "b": 1}, path) == left


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        ("1.50", Decimal("1.5")),
        (" -2e3 ", -2000),
        (".5", Decimal("0.5")),
        (True, None),
        ("", None),
        ("1,5", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e9999", None),
        ("\u0661", None),
        (None, None),
        ([1], None),
        (Decimal("1e1001"), None),
    ],
)
def test_numbers_and_numeric_texts_are_numbers(value, number):
    assert as_number(value) == number


@pytest.mark.parametrize(("number", "shown"), [("51.0", "51"), ("2.50", "2.5"), ("1E+3", "1000"), ("-0.00", "0")])
def test_numbers_are_tidied(number, shown):
    assert str(tidy(Decimal(number))) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "ü\n"]}, '{"a":[true,null,"ü\\n"],"b":1}'),
        ({}, "{}"),
        ([], "[]"),
        ([[], {}], "[[],{}]"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+2"), "100"),
        (Decimal("1E-7"), "0.0000001"),
    ],
)
def test_canonical_json_is_compact_sorted_and_equal_for_equal_numbers(value, text):
    assert canonical_json(value) == text


def test_canonical_json_is_written_at_any_depth():
    deep = []
    for _ in range(50_000):
        deep = [deep]
    assert len(canonical_json(deep)) == 100_002


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (MISSING, ""), (None, "null"), (True, "true"), (1, "1"), ({"a": 1}, '{"a":1}')]
)
def test_inside_text_values_read_as_json_and_missing_is_empty(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, "1.0", True),
        ("01", "1", True),
        ("a", "a", True),
        (True, "true", True),
        (True, 1, False),
        (MISSING, "", True),
        (None, "null", True),
        ({"a": Decimal("1.0")}, {"a": 1}, True),
    ],
)
def test_values_are_equal_as_numbers_or_by_what_they_read_as(left, right, same):
    assert equal(left, right) is same


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [("9", 10, -1), ("9", "10", -1), ("b", "a", 1), (2, 2, 0), (MISSING, 1, None), ("a", 1, None), (None, "a", None)],
)
def test_numbers_are_ordered_as_numbers_and_texts_as_texts(left, right, order):
    assert compare(left, right) == order


@pytest.mark.parametrize("text", ["1" * 1_000_000 + "x", " " * 1_000_000 + "x", "1." + "1" * 1_000_000 + "x"])
def test_a_long_text_is_known_in_one_go_to_be_no_number(text):
    assert as_number(text) is None
