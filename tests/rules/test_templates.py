from decimal import Decimal

import pytest

from meterhouse.rules.records import MISSING
from meterhouse.rules.templates import fill, parse_field, parse_template

PAYLOAD = {
    "a": {"b": 5},
    "list": [1, {"x": "y"}],
    "text": "hi",
    "price": Decimal("1.50"),
    "nothing": None,
    "two words": 2,
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${payload.a.b}", 5),
        ("@{payload.a.b}", 5),
        ("${payload.a}", {"b": 5}),
        ("${payload}", PAYLOAD),
        ("${payload.list[1].x}", "y"),
        ("${payload.two words}", 2),
        ("${ payload.text }", "hi"),
        ("${payload.nothing}", None),
        ("${payload.gone}", ""),
        ("n=${payload.a.b}!", "n=5!"),
        ("${payload.a.b}${payload.a.b}", "55"),
        ("<@{payload.a}>", '<{"b":5}>'),
        ("<${payload.gone}>", "<>"),
        ("<${payload.price}>", "<1.5>"),
        ("no place", "no place"),
        ("${other.a}", "${other.a}"),
        ("${payloads}", "${payloads}"),
        ("", ""),
        (7, 7),
    ],
)
def test_a_place_alone_keeps_its_type_and_inside_text_it_is_text(template, value):
    assert fill(template, PAYLOAD) == value


def test_the_whole_record_inside_text_is_canonical_json():
    assert parse_template("${payload}").text({"b": Decimal("1.0"), "a": "x"}) == '{"a":"x","b":1}'


def test_objects_and_lists_are_filled_however_deep():
    template = {"qs": [{"key": "n", "value": "${payload.a.b}"}], "flag": True}
    assert fill(template, PAYLOAD) == {"qs": [{"key": "n", "value": 5}], "flag": True}


def test_where_a_field_is_meant_a_bare_name_is_one():
    assert parse_field("a.b").value(PAYLOAD) == 5
    assert parse_field("${payload.a.b}").value(PAYLOAD) == 5
    assert parse_field("gone").value(PAYLOAD) is MISSING


@pytest.mark.parametrize(
    ("template", "filled"), [("${payload.gone}", False), ("x-${payload.nothing}", False), ("x-${payload.text}", True)]
)
def test_a_template_knows_whether_any_of_its_places_has_a_value(template, filled):
    assert parse_template(template).is_filled(PAYLOAD) is filled


@pytest.mark.parametrize("text", ["${payload." + " " * 1_000_000, "${payload." * 100_000, "${" + " " * 1_000_000])
def test_a_long_text_that_nearly_has_places_is_read_in_one_go(text):
    assert parse_template(text).paths == ()


def test_blanks_around_a_place_mean_nothing():
    assert parse_template("${ payload.a.b }${payload }").paths == ("a.b", "")
