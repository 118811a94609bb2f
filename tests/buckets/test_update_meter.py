"""PUT /meters/{meterIdOrSlug} replaces."""

import pytest

from .make import JSON, add_meter, assert_names, by_group, ingest, instant, make_event, query, refused


def replace(client, body, slug="usage"):
    response = client.put(f"/meters/{slug}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def full(mount):
    add_meter(mount, name="Usage", description="All", metadata={"a": "b"}, groupBy={"model": "$.model"})
    return mount


def test_what_is_sent_is_replaced(full):
    body = {"name": "New", "description": "Other", "metadata": {"c": "d"}, "groupBy": {"region": "$.region"}}
    updated = replace(full, body)
    assert {name: updated[name] for name in body} == body
    assert full.get("/meters/usage").json() == updated


def test_an_omitted_name_becomes_the_slug(full):
    assert replace(full, {})["name"] == "usage"


def test_omitted_groups_are_cleared(full):
    assert not replace(full, {}).get("groupBy")


def test_omitted_metadata_is_cleared(full):
    assert not replace(full, {}).get("metadata")


def test_an_omitted_description_is_kept(full):
    assert replace(full, {})["description"] == "All"


def test_a_meter_is_replaced_by_id_too(full):
    meter_id = full.get("/meters/usage").json()["id"]
    assert replace(full, {"name": "New"}, meter_id)["name"] == "New"


def test_members_that_cannot_change_are_ignored(full):
    before = full.get("/meters/usage").json()
    sent = {"slug": "other", "aggregation": "MAX", "eventType": "other", "valueProperty": "$.other", "id": "x"}
    after = replace(full, sent)
    assert {name: after[name] for name in sent} == {name: before[name] for name in sent}


def test_an_update_moves_only_the_time_of_update(full):
    before = full.get("/meters/usage").json()
    after = replace(full, {})
    assert after["createdAt"] == before["createdAt"]
    assert instant(after["updatedAt"]) > instant(before["updatedAt"])


def test_a_whole_meter_can_be_sent_back(full):
    before = full.get("/meters/usage").json()
    after = replace(full, before)
    assert after | {"updatedAt": None} == before | {"updatedAt": None}


BAD_MEMBERS = [
    ("name", ""),
    ("name", "x" * 257),
    ("name", 5),
    ("name", "\u0000"),
    ("description", ""),
    ("description", "x" * 1025),
    ("description", []),
    ("metadata", {"a": 1}),
    ("metadata", "a"),
    ("groupBy", []),
    ("groupBy", {"1a": "$.x"}),
    ("groupBy", {"a-b": "$.x"}),
    ("groupBy", {"a": "x"}),
    ("groupBy", {"a": 1}),
    ("groupBy", {"a": "$.value"}),
]


@pytest.mark.parametrize(("field", "value"), BAD_MEMBERS)
def test_a_bad_member_is_refused_by_name(shared_mount, field, value):
    shared_mount.post(
        "/meters", json={"slug": "usage", "aggregation": "SUM", "eventType": "x", "valueProperty": "$.value"}
    )
    assert_names(refused(shared_mount.put("/meters/usage", json={field: value})), field)


def test_a_refused_update_changes_nothing(full):
    before = full.get("/meters/usage").json()
    refused(full.put("/meters/usage", json={"name": "New", "groupBy": {"a": "x"}}))
    assert full.get("/meters/usage").json() == before


@pytest.mark.parametrize("content", [b"[]", b"null", b"5", b"{", b'"x"'])
def test_a_body_that_is_no_object_is_refused(full, content):
    refused(full.put("/meters/usage", content=content, headers=JSON))


def test_an_unknown_meter_is_not_found(mount):
    refused(mount.put("/meters/nothing", json={}), 404)


def test_new_groups_see_the_events_of_the_past(mount):
    add_meter(mount)
    ingest(mount, make_event(data={"value": 1, "model": "a"}), make_event(data={"value": 2, "model": "b"}))
    replace(mount, {"groupBy": {"model": "$.model"}})
    assert by_group(query(mount, groupBy="model"), "model") == {"a": 1, "b": 2}


def test_changed_groups_follow_the_new_path(mount):
    add_meter(mount, groupBy={"key": "$.a"})
    ingest(mount, make_event(data={"value": 1, "a": "x", "b": "y"}))
    assert by_group(query(mount, groupBy="key"), "key") == {"x": 1}
    replace(mount, {"groupBy": {"key": "$.b"}})
    ingest(mount, make_event(data={"value": 5, "a": "x", "b": "y"}))
    assert by_group(query(mount, groupBy="key"), "key") == {"y": 6}


def test_a_dropped_group_is_unknown_in_queries(full):
    replace(full, {})
    refused(full.get("/meters/usage/query", params={"groupBy": "model"}))
