"""advancedMeterGroupByFilters: operators over the values of groups."""

import json
import re

import pytest

from .make import MISSING, add_meter, by_group, ingest, make_event, query, query_by_body, refused, says, values

TEXTS = ["", "5", "A", "Aab", "a", "a%b", "a_b", "aab", "b", "ba", "c", "null", "Åa", "åa"]


def like(text, pattern):
    parts = {"%": ".*", "_": "."}
    return re.fullmatch("".join(parts.get(sign, re.escape(sign)) for sign in pattern), text, re.DOTALL) is not None


COMPARISONS = {
    "$eq": lambda text, operand: text == operand,
    "$ne": lambda text, operand: text != operand,
    "$in": lambda text, operand: text in operand,
    "$nin": lambda text, operand: text not in operand,
    "$like": like,
    "$nlike": lambda text, operand: not like(text, operand),
    "$ilike": lambda text, operand: like(text.lower(), operand.lower()),
    "$nilike": lambda text, operand: not like(text.lower(), operand.lower()),
    "$gt": lambda text, operand: text > operand,
    "$gte": lambda text, operand: text >= operand,
    "$lt": lambda text, operand: text < operand,
    "$lte": lambda text, operand: text <= operand,
    "$and": lambda text, operand: all(matches(text, one) for one in operand),
    "$or": lambda text, operand: not operand or any(matches(text, one) for one in operand),
}


def matches(text, filter_):
    return all(COMPARISONS[operator](text, operand) for operator, operand in filter_.items())


@pytest.fixture(scope="module")
def texts(make_bucket):
    """One event for each text, in a count grouped by it."""
    made = make_bucket()
    add_meter(made.seed, aggregation="COUNT", groupBy={"key": "$.key", "other": "$.other"})
    ingest(made.seed, *(make_event(data={"key": text, "other": text.upper()}) for text in TEXTS))
    return made


FILTERS = [
    {"$eq": "a"},
    {"$eq": ""},
    {"$eq": "null"},
    {"$eq": "nothing"},
    {"$ne": "a"},
    {"$ne": ""},
    {"$in": ["a", "b", "nothing"]},
    {"$in": [""]},
    {"$in": ["a"] * 50},
    {"$nin": ["a", "b"]},
    {"$nin": [""]},
    {"$like": "a%"},
    {"$like": "%a%"},
    {"$like": "a_b"},
    {"$like": "_"},
    {"$like": "%"},
    {"$like": "aab"},
    {"$like": "A%"},
    {"$nlike": "a%"},
    {"$nlike": "%"},
    {"$ilike": "A%"},
    {"$ilike": "a_B"},
    {"$nilike": "A%"},
    {"$gt": "a"},
    {"$gte": "a"},
    {"$lt": "a"},
    {"$lte": "a"},
    {"$gt": ""},
    {"$gte": ""},
    {"$gt": "Z"},
    {"$lt": "Å"},
    {"$gte": "a", "$lt": "c"},
    {"$ne": "a", "$like": "a%"},
    {"$in": ["a", "b", "c"], "$nin": ["b"]},
    {"$eq": "a", "$ne": "a"},
    {"$eq": "a", "$or": [{"$eq": "a"}, {"$eq": "b"}]},
    {"$and": [{"$gte": "a"}, {"$lt": "b"}]},
    {"$and": [{"$eq": "a"}]},
    {"$or": [{"$eq": "a"}, {"$eq": ""}]},
    {"$or": [{"$gte": "b", "$lt": "c"}, {"$eq": "5"}]},
    {"$or": [{"$and": [{"$gte": "a"}, {"$lt": "b"}]}, {"$and": [{"$ne": "b"}, {"$like": "b%"}]}]},
    {"$and": [{"$or": [{"$eq": "a"}, {"$or": [{"$eq": "b"}, {"$eq": "c"}]}]}, {"$ne": "c"}]},
    {"$and": [{"$and": [{"$and": [{"$and": [{"$eq": "a"}]}]}]}]},
    {},
    {"$and": []},
    {"$or": []},
]


@pytest.mark.parametrize("filter_", FILTERS, ids=json.dumps)
def test_an_operator_finds_its_groups(texts, filter_):
    expected = {text: 1 for text in TEXTS if matches(text, filter_)}
    by_body = query_by_body(texts.seed, groupBy=["key"], advancedMeterGroupByFilters={"key": filter_})
    by_text = query(texts.openmeter, groupBy="key", advancedMeterGroupByFilters=json.dumps({"key": filter_}))
    assert by_group(by_body, "key") == expected
    assert by_text == by_body


def test_filters_of_several_keys_hold_together(texts):
    filters = {"key": {"$like": "a%"}, "other": {"$eq": "AAB"}}
    assert by_group(query_by_body(texts.seed, groupBy=["key"], advancedMeterGroupByFilters=filters), "key") == {
        "aab": 1
    }


def test_no_filters_filter_nothing(texts):
    assert values(query_by_body(texts.seed, advancedMeterGroupByFilters={})) == [len(TEXTS)]


def test_a_filter_adds_no_group(texts):
    [row] = query_by_body(texts.seed, advancedMeterGroupByFilters={"key": {"$eq": "a"}})
    assert (row["value"], row["groupBy"]) == (1, {})


def test_existing_and_missing_groups_are_everything(bucket):
    add_meter(bucket.seed, aggregation="COUNT", groupBy={"key": "$.key"})
    ingest(bucket.seed, *(make_event(data={"key": key} if key is not MISSING else {}) for key in ("a", "b", MISSING)))
    there, gone = (
        sum(values(query_by_body(bucket.seed, advancedMeterGroupByFilters={"key": {"$exists": flag}})))
        for flag in (True, False)
    )
    assert (there, gone) == (2, 1)


@pytest.mark.parametrize(
    ("value", "filter_"), [(5, {"$eq": "5"}), (None, {"$eq": "null"}), ({}, {"$eq": ""}), (True, {"$lt": "u"})]
)
def test_an_operator_sees_the_text_of_a_group(mount, value, filter_):
    add_meter(mount, groupBy={"key": "$.key"})
    ingest(mount, make_event(data={"value": 1, "key": value}))
    assert values(query_by_body(mount, advancedMeterGroupByFilters={"key": filter_})) == [1]


def test_an_unknown_key_is_refused_by_name(texts):
    for response in (
        texts.openmeter.post("/meters/usage/query", json={"advancedMeterGroupByFilters": {"foo": {"$eq": "a"}}}),
        texts.openmeter.get("/meters/usage/query", params={"advancedMeterGroupByFilters": '{"foo": {"$eq": "a"}}'}),
    ):
        assert "meter does not have group by: foo" in says(refused(response))


@pytest.mark.parametrize("key", ["key", "other"])
def test_both_kinds_of_filters_are_refused_together(texts, key):
    body = {"filterGroupBy": {"key": ["a"]}, "advancedMeterGroupByFilters": {key: {"$eq": "a"}}}
    assert "cannot be used together" in says(refused(texts.openmeter.post("/meters/usage/query", json=body)))
    params = {"filterGroupBy[key]": "a", "advancedMeterGroupByFilters": json.dumps({key: {"$eq": "a"}})}
    assert "cannot be used together" in says(refused(texts.seed.get("/meters/usage/query", params=params)))


BAD_FILTERS = [
    {"$near": "a"},
    {"eq": "a"},
    {"": "a"},
    {"$eq": 5},
    {"$eq": ["a"]},
    {"$in": "a"},
    {"$in": [5]},
    {"$like": 5},
    {"$and": {}},
    {"$and": "a"},
    {"$or": ["a"]},
    {"$or": [{"$eq": 5}]},
    {"$and": [{"$or": [{"$near": "a"}]}]},
    {"$exists": "yes"},
    "a",
    5,
    ["a"],
]


@pytest.mark.parametrize("filter_", BAD_FILTERS, ids=json.dumps)
def test_a_bad_filter_is_refused(texts, filter_):
    refused(texts.openmeter.post("/meters/usage/query", json={"advancedMeterGroupByFilters": {"key": filter_}}))
    params = {"advancedMeterGroupByFilters": json.dumps({"key": filter_})}
    refused(texts.seed.get("/meters/usage/query", params=params))


@pytest.mark.parametrize("text", ["{", "[]", "5", "null x", '"a"', "key", "\u0000"])
def test_a_text_that_is_no_object_is_refused(texts, text):
    refused(texts.openmeter.get("/meters/usage/query", params={"advancedMeterGroupByFilters": text}))


@pytest.mark.parametrize("operator", ["$eq", "$ne", "$like", "$nlike", "$ilike", "$nilike", "$gt", "$lte"])
@pytest.mark.parametrize("text", ["\u0000", "\\", "a\\", "%\\", "'", '"', "\ud800", "\\%", "x" * 10_000])
def test_an_odd_text_never_breaks(texts, operator, text):
    content = json.dumps({"advancedMeterGroupByFilters": {"key": {operator: text}}})
    headers = {"Content-Type": "application/json"}
    assert texts.seed.post("/meters/usage/query", content=content, headers=headers).status_code in (200, 400)


@pytest.mark.parametrize("depth", [50, 2_000, 100_000])
def test_a_deep_filter_never_breaks(texts, depth):
    deep = '{"$and":[' * depth + '{"$eq":"a"}' + "]}" * depth
    content = '{"advancedMeterGroupByFilters": {"key": ' + deep + "}}"
    headers = {"Content-Type": "application/json"}
    assert texts.seed.post("/meters/usage/query", content=content, headers=headers).status_code in (200, 400, 413)
    assert texts.seed.get("/meters").status_code == 200


def test_a_wide_filter_never_breaks(texts):
    filter_ = {"$or": [{"$eq": str(number)} for number in range(3_000)]}
    body = {"advancedMeterGroupByFilters": {"key": filter_}}
    assert texts.seed.post("/meters/usage/query", json=body).status_code in (200, 400)
    body = {"advancedMeterGroupByFilters": {"key": {"$in": [str(number) for number in range(50_000)]}}}
    assert texts.seed.post("/meters/usage/query", json=body).status_code in (200, 400)
