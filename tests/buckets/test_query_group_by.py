"""groupBy: by values in the data, by subject, and by both."""

import pytest

from .make import (
    MISSING,
    add_meter,
    by_group,
    by_subject,
    ingest,
    make_event,
    query,
    query_by_body,
    refused,
    says,
    values,
)

GROUPS = [
    ("a", "a"),
    ("A", "A"),
    (" a ", " a "),
    ("", ""),
    (MISSING, ""),
    ({}, ""),
    ({"b": 1}, ""),
    ([], ""),
    (["a"], ""),
    (None, "null"),
    ("null", "null"),
    (5, "5"),
    ("5", "5"),
    (5.0, "5"),
    (-1, "-1"),
    (1.5, "1.5"),
    (True, "true"),
    (False, "false"),
    ("Åsa", "Åsa"),
    ("🧮", "🧮"),
    ('a"b,c', 'a"b,c'),
]


@pytest.mark.parametrize(("value", "text"), GROUPS)
def test_a_group_value_is_a_text(bucket, value, text):
    add_meter(bucket.seed, aggregation="COUNT", groupBy={"key": "$.key"})
    ingest(bucket.seed, make_event(data={} if value is MISSING else {"key": value}))
    assert [row["groupBy"] for row in query(bucket.seed, groupBy="key")] == [{"key": text}]


@pytest.mark.parametrize("data", [None, MISSING])
def test_an_event_without_data_has_empty_groups(mount, data):
    add_meter(mount, aggregation="COUNT", groupBy={"key": "$.key"})
    ingest(mount, make_event(data=data))
    assert by_group(query(mount, groupBy="key"), "key") == {"": 1}


def test_values_of_the_same_text_are_one_group(mount):
    add_meter(mount, aggregation="COUNT", groupBy={"key": "$.key"})
    ingest(mount, *(make_event(data={"key": value}) for value in (5, "5", 5.0, None, "null", "", {}, True, "true")))
    assert by_group(query(mount, groupBy="key"), "key") == {"5": 3, "null": 2, "": 2, "true": 2}


@pytest.fixture
def models(mount):
    """A sum grouped by model and by a nested region."""
    add_meter(mount, groupBy={"model": "$.model", "region": "$.place.region"})
    for value, subject, model, region in (
        (1, "alice", "gpt", "eu"),
        (10, "alice", "gpt", "us"),
        (100, "bob", "gpt", "eu"),
        (1000, "bob", "llama", "eu"),
    ):
        ingest(mount, make_event(subject=subject, data={"value": value, "model": model, "place": {"region": region}}))
    return mount


def test_without_groups_there_is_one_row(models):
    [row] = query(models)
    assert (row["value"], row["subject"], row["groupBy"]) == (1111, None, {})
    assert "customerId" not in row


def test_one_group_makes_a_row_for_each_value(models):
    rows = query(models, groupBy="model")
    assert by_group(rows, "model") == {"gpt": 111, "llama": 1000}
    assert {row["subject"] for row in rows} == {None}


def test_two_groups_make_a_row_for_each_pair(models):
    rows = query(models, groupBy=["model", "region"])
    assert [(row["groupBy"], row["value"]) for row in rows] == [
        ({"model": "gpt", "region": "eu"}, 101),
        ({"model": "gpt", "region": "us"}, 10),
        ({"model": "llama", "region": "eu"}, 1000),
    ]


def test_the_subject_is_a_member_of_the_row_and_no_group(models):
    rows = query(models, groupBy="subject")
    assert by_subject(rows) == {"alice": 11, "bob": 1100}
    assert all(row["groupBy"] == {} for row in rows)


def test_subject_and_group_together(models):
    rows = query(models, groupBy=["subject", "model"])
    assert [(row["subject"], row["groupBy"], row["value"]) for row in rows] == [
        ("alice", {"model": "gpt"}, 11),
        ("bob", {"model": "gpt"}, 100),
        ("bob", {"model": "llama"}, 1000),
    ]


def test_groups_are_the_same_by_body(models):
    assert query_by_body(models, groupBy=["subject", "region"]) == query(models, groupBy=["subject", "region"])


def test_a_group_without_usable_value_has_no_row(mount):
    add_meter(mount, groupBy={"model": "$.model"})
    ingest(mount, make_event(data={"value": 1, "model": "a"}), make_event(data={"value": "x", "model": "b"}))
    assert by_group(query(mount, groupBy="model"), "model") == {"a": 1}


def test_an_unknown_group_is_refused_by_name(models):
    for response in (
        models.get("/meters/usage/query", params={"groupBy": "foo"}),
        models.get("/meters/usage/query", params={"groupBy": ["model", "foo"]}),
        models.post("/meters/usage/query", json={"groupBy": ["foo"]}),
    ):
        assert "invalid group by: foo" in says(refused(response))


@pytest.mark.parametrize("text", ["", "model,region", "Model", "$.model", "\u0000", "model\n", "'", "data"])
def test_what_is_no_key_of_the_meter_is_refused(models, text):
    refused(models.get("/meters/usage/query", params={"groupBy": text}))
    refused(models.post("/meters/usage/query", json={"groupBy": [text]}))


def test_no_groups_by_body_are_no_groups(models):
    assert values(query_by_body(models, groupBy=[])) == [1111]


def test_more_than_a_hundred_groups_are_refused(models):
    refused(models.get("/meters/usage/query", params={"groupBy": ["model"] * 101}))
    refused(models.post("/meters/usage/query", json={"groupBy": ["model"] * 101}))


def test_a_group_named_twice_never_breaks(models):
    assert models.get("/meters/usage/query", params={"groupBy": ["model", "model"]}).status_code in (200, 400)


AWKWARD = [
    "value",
    "type",
    "time",
    "id",
    "source",
    "data",
    "windowstart",
    "window_start",
    "count",
    "select",
    "user",
    "VALUE",
]


@pytest.mark.parametrize("key", AWKWARD)
def test_a_group_key_may_be_called_like_anything(bucket, key):
    add_meter(bucket.seed, groupBy={key: "$.x"})
    ingest(bucket.seed, make_event(data={"value": 1, "x": "a"}), make_event(data={"value": 2, "x": "b"}))
    for params in ({}, {"windowSize": "DAY"}):
        assert by_group(query(bucket.seed, groupBy=[key, "subject"], **params), key) == {"a": 1, "b": 2}
    assert values(query(bucket.seed, **{f"filterGroupBy[{key}]": "b"})) == [2]
    assert values(query_by_body(bucket.seed, advancedMeterGroupByFilters={key: {"$ne": "b"}})) == [1]


def test_a_group_key_called_subject_is_shadowed_by_the_subject(mount):
    add_meter(mount, groupBy={"subject": "$.subject"})
    ingest(mount, make_event(subject="alice", data={"value": 1, "subject": "other"}))
    assert [(row["subject"], row["groupBy"]) for row in query(mount, groupBy="subject")] == [("alice", {})]


def test_every_group_is_a_row_however_many(bucket):
    add_meter(bucket.seed, groupBy={"key": "$.key"})
    ingest(bucket.seed, *(make_event(data={"value": n, "key": f"{n:05}"}) for n in range(5_000)))
    rows = query(bucket.seed, groupBy="key")
    assert [(row["groupBy"]["key"], row["value"]) for row in rows] == [(f"{n:05}", n) for n in range(5_000)]


def test_many_groups_at_once(mount):
    keys = [f"key_{n:02}" for n in range(40)]
    add_meter(mount, groupBy={key: f"$.{key}" for key in keys})
    ingest(mount, make_event(data={"value": 1} | {key: key.upper() for key in keys}))
    assert query(mount, groupBy=keys)[0]["groupBy"] == {key: key.upper() for key in keys}
