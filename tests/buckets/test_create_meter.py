"""POST /meters."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from .make import JSON, MISSING, add_meter, assert_names, instant, make_meter, refused, says

ULID = r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"


def test_a_created_meter_carries_what_was_sent(mount):
    sent = make_meter(
        slug="tokens_total",
        aggregation="MAX",
        eventType="prompt",
        valueProperty="$.usage.tokens",
        groupBy={"model": "$.model", "type": "$['kind']"},
        name="Tokens",
        description="All tokens",
        metadata={"team": "billing"},
        eventFrom="2025-01-01T00:00:00Z",
    )
    created = add_meter(mount, **sent)
    assert instant(created.pop("eventFrom")) == instant(sent.pop("eventFrom"))
    assert {name: created[name] for name in sent} == sent


def test_the_server_gives_an_id_and_two_times(mount):
    created = add_meter(mount)
    assert re.fullmatch(ULID, created["id"])
    assert instant(created["createdAt"]) <= instant(created["updatedAt"])


def test_the_name_defaults_to_the_slug(mount):
    assert add_meter(mount, slug="nameless")["name"] == "nameless"


def test_a_live_meter_has_no_time_of_deletion(mount):
    assert add_meter(mount).get("deletedAt") is None


def test_a_meter_without_groups_has_no_group_member(bucket):
    assert "groupBy" not in add_meter(bucket.openmeter, groupBy={})


@pytest.mark.parametrize("slug", ["a", "0", "a_b", "a1_2b_c", "007", "x" * 64])
def test_slugs_that_match_the_pattern_are_taken(shared_mount, slug):
    created = shared_mount.post("/meters", json=make_meter(slug=slug))
    assert created.status_code == 201, created.text
    assert shared_mount.get(f"/meters/{slug}").json()["slug"] == slug
    assert shared_mount.delete(f"/meters/{slug}").status_code == 204


BAD_SLUGS = ["", "A", "aB", "a-b", "_a", "a_", "a__b", "a b", "a.b", "a/b", "é", "a\n", "a\u0000", "x" * 65]


@pytest.mark.parametrize("slug", [*BAD_SLUGS, 5, None, ["a"], {"a": 1}, True, MISSING])
def test_other_slugs_are_refused_by_name(shared_mount, slug):
    assert_names(refused(shared_mount.post("/meters", json=make_meter(slug=slug))), "slug")


@pytest.mark.parametrize("aggregation", ["SUM", "COUNT", "UNIQUE_COUNT", "AVG", "MIN", "MAX", "LATEST"])
def test_every_aggregation_is_known(mount, aggregation):
    assert add_meter(mount, aggregation=aggregation)["aggregation"] == aggregation


@pytest.mark.parametrize("aggregation", ["sum", "MEDIAN", "", None, 1, ["SUM"], MISSING])
def test_an_unknown_aggregation_is_refused_by_name(shared_mount, aggregation):
    assert_names(refused(shared_mount.post("/meters", json=make_meter(aggregation=aggregation))), "aggregation")


BAD_MEMBERS = [
    ("eventType", MISSING),
    ("eventType", None),
    ("eventType", ""),
    ("eventType", 5),
    ("eventType", ["request"]),
    ("eventType", "a\u0000b"),
    ("valueProperty", MISSING),
    ("valueProperty", ""),
    ("valueProperty", 5),
    ("valueProperty", ["$.value"]),
    ("valueProperty", "value"),
    ("valueProperty", "$.\u0000"),
    ("name", ""),
    ("name", "x" * 257),
    ("name", 5),
    ("name", ["x"]),
    ("name", "a\u0000b"),
    ("description", ""),
    ("description", "x" * 1025),
    ("description", 5),
    ("description", "a\u0000b"),
    ("metadata", {"a": 1}),
    ("metadata", {"a": {"b": "c"}}),
    ("metadata", ["a"]),
    ("metadata", "a"),
    ("metadata", {"a": "\u0000"}),
    ("metadata", {"\u0000": "a"}),
    ("groupBy", ["$.model"]),
    ("groupBy", "$.model"),
    ("groupBy", {"model": 1}),
    ("groupBy", {"model": None}),
    ("groupBy", {"model": ""}),
    ("groupBy", {"model": "model"}),
    ("groupBy", {"model": "$.\u0000"}),
    ("groupBy", {"model": "$.value"}),
    ("eventFrom", "yesterday"),
    ("eventFrom", ""),
    ("eventFrom", "2025-01-01"),
    ("eventFrom", "2025-01-01T00:00:00"),
    ("eventFrom", "2025-02-30T00:00:00Z"),
    ("eventFrom", 1735689600),
]


@pytest.mark.parametrize(("field", "value"), BAD_MEMBERS)
def test_a_bad_member_is_refused_by_name(shared_mount, field, value):
    assert_names(refused(shared_mount.post("/meters", json=make_meter(**{field: value}))), field)


@pytest.mark.parametrize("field", ["name", "description", "eventType"])
def test_half_a_character_is_refused_by_name(shared_mount, field):
    body = json.dumps(make_meter(**{field: "a\ud800b"}))
    assert_names(refused(shared_mount.post("/meters", content=body, headers=JSON)), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "x" * 256), ("name", "ö"), ("description", "x" * 1024), ("metadata", {}), ("metadata", {"a": "ü" * 500})],
)
def test_the_longest_texts_are_taken_whole(mount, field, value):
    assert add_meter(mount, **{field: value})[field] == value


def test_metadata_may_be_null(mount):
    assert not add_meter(mount, metadata=None).get("metadata")


@pytest.mark.parametrize("key", ["a", "A", "_a", "a1", "A_1", "value", "type", "time", "subject", "customer_id", "id"])
def test_a_group_key_may_be_any_identifier(mount, key):
    assert add_meter(mount, groupBy={key: "$.x"})["groupBy"] == {key: "$.x"}


@pytest.mark.parametrize("key", ["", "1a", "a-b", "a b", "a.b", "ä", "a\n", "a\u0000", "$a"])
def test_other_group_keys_are_refused_by_name(shared_mount, key):
    assert_names(refused(shared_mount.post("/meters", json=make_meter(groupBy={key: "$.x"}))), "groupBy")


def test_a_count_with_a_value_property_is_kept_on_the_seed_mount(bucket):
    created = add_meter(bucket.seed, aggregation="COUNT", valueProperty="$.value")
    assert created["valueProperty"] == "$.value"


def test_a_count_with_a_value_property_is_refused_on_the_openmeter_mount(bucket):
    body = make_meter(aggregation="COUNT", valueProperty="$.value")
    problem = refused(bucket.openmeter.post("/meters", json=body))
    assert_names(problem, "valueProperty")
    assert "not allowed when the aggregation is count" in says(problem)


def test_the_kept_value_property_of_a_count_is_ignored(bucket):
    add_meter(bucket.seed, aggregation="COUNT", valueProperty="$.value")
    bucket.seed.post("/events", json=_two_events_without_value())
    assert bucket.seed.get("/meters/usage/query").json()["data"][0]["value"] == 2


def _two_events_without_value():
    event = {"source": "tests", "specversion": "1.0", "type": "request", "subject": "alice", "data": {}}
    return [event | {"id": "1"}, event | {"id": "2"}]


@pytest.mark.parametrize("content", [b"", b"[]", b'"x"', b"null", b"5", b"{", b"{}x", b"\xff\xfe", b'{"slug": NaN}'])
def test_a_body_that_is_no_object_is_refused(shared_mount, content):
    refused(shared_mount.post("/meters", content=content, headers=JSON))


def test_a_live_slug_is_taken_once(mount):
    add_meter(mount)
    problem = refused(mount.post("/meters", json=make_meter(aggregation="MAX")), 409)
    assert problem["detail"] == "conflict error: meter with the same slug already exists"


def test_the_mounts_share_the_slugs(bucket):
    add_meter(bucket.seed)
    refused(bucket.openmeter.post("/meters", json=make_meter()), 409)


def test_of_two_creates_at_once_exactly_one_wins(bucket):
    with ThreadPoolExecutor(4) as pool:
        for slug in ("a", "b", "c", "d", "e"):
            answers = pool.map(lambda _, slug=slug: bucket.seed.post("/meters", json=make_meter(slug=slug)), range(4))
            assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_meters_may_share_an_event_type(mount):
    add_meter(mount, slug="one")
    add_meter(mount, slug="two", aggregation="COUNT")
    assert [meter["slug"] for meter in mount.get("/meters").json()] == ["one", "two"]


def test_two_buckets_may_use_the_same_slug(make_bucket):
    add_meter(make_bucket().seed)
    add_meter(make_bucket().seed)


def test_a_count_without_a_path_is_a_count_whether_it_is_left_out_or_null(mount):
    add_meter(mount, slug="left_out", aggregation="COUNT")
    made = add_meter(mount, slug="is_null", aggregation="COUNT", valueProperty=None)
    assert "valueProperty" not in made
