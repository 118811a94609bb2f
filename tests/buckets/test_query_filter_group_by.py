"""filterGroupBy: exact values of groups, as deep object, as body, and as the Python SDK writes it."""

import pytest

from .make import MISSING, add_meter, ingest, make_event, query, query_by_body, refused, says, values

DATA = [
    (1, {"model": "gpt-4", "kind": "input"}),
    (10, {"model": "gpt-4", "kind": "output"}),
    (100, {"model": "llama", "kind": "input"}),
    (1000, {"model": "", "kind": "input"}),
    (10_000, {"kind": "input"}),
    (100_000, {"model": None, "kind": "it's"}),
    (1_000_000, {"model": 5, "kind": 'say "hi"'}),
]


@pytest.fixture
def models(mount):
    add_meter(mount, groupBy={"model": "$.model", "kind": "$.kind"})
    ingest(mount, *(make_event(data={"value": value} | data) for value, data in DATA))
    return mount


def total(rows):
    return sum(values(rows))


CASES = [
    ({"model": "gpt-4"}, 11),
    ({"model": "gpt-4", "kind": "input"}, 1),
    ({"model": ""}, 11_000),
    ({"model": "null"}, 100_000),
    ({"model": "5"}, 1_000_000),
    ({"model": "nothing"}, 0),
    ({"model": "GPT-4"}, 0),
    ({"model": "gpt%"}, 0),
    ({"kind": "it's"}, 100_000),
    ({"kind": 'say "hi"'}, 1_000_000),
]


@pytest.mark.parametrize(("filters", "expected"), CASES)
def test_a_group_is_filtered_by_deep_object(models, filters, expected):
    assert total(query(models, **{f"filterGroupBy[{key}]": value for key, value in filters.items()})) == expected


@pytest.mark.parametrize(("filters", "expected"), CASES)
def test_a_group_is_filtered_as_the_python_sdk_writes_it(models, filters, expected):
    assert total(query(models, filterGroupBy=str(filters))) == expected


@pytest.mark.parametrize(("filters", "expected"), CASES)
def test_a_group_is_filtered_by_body(models, filters, expected):
    assert total(query_by_body(models, filterGroupBy={key: [value] for key, value in filters.items()})) == expected


def test_several_values_of_a_key_are_alternatives(models):
    assert total(query_by_body(models, filterGroupBy={"model": ["gpt-4", "llama", ""], "kind": ["input"]})) == 11_101


def test_a_filter_adds_no_group(models):
    [row] = query(models, **{"filterGroupBy[model]": "gpt-4"})
    assert row["groupBy"] == {}


def test_a_filter_stands_beside_other_groups_and_windows(models):
    rows = query(models, windowSize="DAY", groupBy="kind", **{"filterGroupBy[model]": "gpt-4"})
    assert [(row["groupBy"], row["value"]) for row in rows] == [({"kind": "input"}, 1), ({"kind": "output"}, 10)]


def test_no_filters_by_body_filter_nothing(models):
    assert total(query_by_body(models, filterGroupBy={})) == 1_111_111


def test_an_unknown_key_is_refused_by_name(models):
    for response in (
        models.get("/meters/usage/query", params={"filterGroupBy[foo]": "x"}),
        models.get("/meters/usage/query", params={"filterGroupBy": "{'foo': 'x'}"}),
        models.post("/meters/usage/query", json={"filterGroupBy": {"foo": ["x"]}}),
    ):
        assert "invalid group by filter: foo" in says(refused(response))


BAD_TEXTS = [
    "{",
    "model",
    "['model']",
    "{'model': 5}",
    "{'model': {}}",
    "{5: 'a'}",
    "__import__('os')",
    "{'model': 'a'",
    "5",
]


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_text_that_is_no_map_of_texts_is_refused(models, text):
    refused(models.get("/meters/usage/query", params={"filterGroupBy": text}))


@pytest.mark.parametrize("body", [[], "model", 5, {"model": 5}, {"model": [5]}, {"model": {"$eq": "a"}}])
def test_a_body_that_is_no_map_of_lists_is_refused(models, body):
    refused(models.post("/meters/usage/query", json={"filterGroupBy": body}))


@pytest.mark.parametrize("text", ["\u0000", "\\", "'", "%", "x" * 3_000])
def test_a_filter_with_an_odd_text_never_breaks(models, text):
    for response in (
        models.get("/meters/usage/query", params={"filterGroupBy[model]": text}),
        models.post("/meters/usage/query", json={"filterGroupBy": {"model": [text]}}),
    ):
        assert response.status_code in (200, 400)


def test_a_deep_text_never_breaks(models):
    assert models.get("/meters/usage/query", params={"filterGroupBy": "{'a':" * 3_000}).status_code == 400
    assert models.get("/meters/usage/query", params={"filterGroupBy": "(" * 3_000}).status_code == 400


@pytest.mark.parametrize("value", [MISSING, "", {}, []])
def test_whatever_has_an_empty_text_is_found_by_an_empty_filter(mount, value):
    add_meter(mount, groupBy={"model": "$.model"})
    ingest(mount, make_event(data={"value": 1} if value is MISSING else {"value": 1, "model": value}))
    assert values(query(mount, **{"filterGroupBy[model]": ""})) == [1]
