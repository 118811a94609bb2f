"""Which JSONPaths a meter may use, and what each one finds."""

import pytest

from .make import MISSING, add_meter, assert_names, by_subject, ingest, make_event, make_meter, query, refused

VALID = [
    "$",
    "$.a",
    "$.a.b",
    "$.a_b",
    "$['a-b']",
    '$["a.b"]',
    "$['a']['b']",
    "$.a['b-c'].d",
    "$.a[0]",
    "$.a[0].b",
    "$.a[*]",
    "$.a[*].b",
    "$.a[0 to 1]",
    "$.a[1,2]",
    "$.1a",
    "$.a.1",
]
INVALID = [
    "",
    "a",
    ".a",
    "$a",
    "$$",
    "$.",
    "$.a.",
    "$..x",
    "$.a..b",
    "$.*",
    "$.a-b",
    "$.a b",
    "$.a[-1]",
    "$.a[0:2]",
    "$.a[?()]",
    "$.a[?(@.b>1)]",
    "$.length()",
    "$.a[",
    "$.a[0",
    "$.a]",
    "$.a[]",
    "$.a[x]",
    "$['a",
    "$['a'",
    "$.a\n",
    "$.a'; drop table events; --",
]


@pytest.mark.parametrize("path", VALID)
def test_a_valid_path_is_taken_as_value_property(shared_mount, path):
    meter = make_meter(slug="paths", valueProperty=path)
    assert shared_mount.post("/meters", json=meter).json()["valueProperty"] == path
    shared_mount.delete("/meters/paths")


@pytest.mark.parametrize("path", VALID)
def test_a_valid_path_is_taken_as_group_and_can_be_queried(shared, path):
    shared.seed.post("/meters", json=make_meter(aggregation="COUNT"))
    updated = shared.seed.put("/meters/usage", json={"groupBy": {"key": path}})
    assert updated.json()["groupBy"] == {"key": path}
    assert query(shared.seed, groupBy="key") == []


@pytest.mark.parametrize("path", INVALID)
def test_an_invalid_path_is_refused_as_value_property(shared_mount, path):
    assert_names(refused(shared_mount.post("/meters", json=make_meter(valueProperty=path))), "valueProperty")


@pytest.mark.parametrize("path", INVALID)
def test_an_invalid_path_is_refused_as_group(shared_mount, path):
    assert_names(refused(shared_mount.post("/meters", json=make_meter(groupBy={"key": path}))), "groupBy")


@pytest.mark.parametrize("path", INVALID)
def test_an_invalid_path_is_refused_as_group_of_an_update(shared_mount, path):
    shared_mount.post("/meters", json=make_meter(slug="updated"))
    assert_names(refused(shared_mount.put("/meters/updated", json={"groupBy": {"key": path}})), "groupBy")


FOUND = [
    ("$.a", {"a": 7}, 7),
    ("$.a.b", {"a": {"b": 7}}, 7),
    ("$['a-b']", {"a-b": 7}, 7),
    ('$["a.b"]', {"a.b": 7, "a": {"b": 1}}, 7),
    ("$.a[0]", {"a": [7, 8]}, 7),
    ("$.a[1]", {"a": [7, 8]}, 8),
    ("$.a[*]", {"a": [7, 8]}, 7),
    ("$.a[*]", {"a": [{"b": 1}, 7]}, 7),
    ("$.a[0].b", {"a": [{"b": 7}]}, 7),
    ("$.a[0 to 1]", {"a": [7, 8, 9]}, 7),
    ("$.a[1,2]", {"a": [7, 8, 9]}, 8),
    ("$.1a", {"1a": 7}, 7),
    ("$.a.1", {"a": {"1": 7}}, 7),
    ("$.A", {"a": 7}, MISSING),
    ("$.a", {"A": 7}, MISSING),
    ("$", {"a": 7}, MISSING),
    ("$.a", {"a": [7]}, MISSING),
    ("$.a", {"a": {"b": 7}}, MISSING),
    ("$.a[2]", {"a": [7, 8]}, MISSING),
    ("$.a[0]", {"a": {"0": 7}}, MISSING),
    ("$.a.b", {"a": 7}, MISSING),
    ("$.a.b", {"a.b": 7}, MISSING),
    ("$.a[*]", {"a": []}, MISSING),
]


@pytest.mark.parametrize(("path", "data", "found"), FOUND)
def test_a_path_finds_one_scalar_or_nothing(bucket, path, data, found):
    add_meter(bucket.seed, valueProperty=path)
    ingest(bucket.seed, make_event(data=data))
    expected = {} if found is MISSING else {"alice": found}
    assert by_subject(query(bucket.seed, groupBy="subject")) == expected


@pytest.mark.parametrize(("path", "data", "found"), FOUND)
def test_a_path_of_a_group_finds_one_scalar_or_an_empty_text(bucket, path, data, found):
    add_meter(bucket.seed, aggregation="COUNT", groupBy={"key": path})
    ingest(bucket.seed, make_event(data=data))
    expected = "" if found is MISSING else str(found)
    assert [row["groupBy"] for row in query(bucket.seed, groupBy="key")] == [{"key": expected}]
