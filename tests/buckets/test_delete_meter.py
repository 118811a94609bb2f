"""DELETE /meters/{meterIdOrSlug}."""

from .make import add_meter, ingest, instant, make_event, query, refused, values


def test_a_deletion_answers_nothing(mount):
    add_meter(mount)
    response = mount.delete("/meters/usage")
    assert (response.status_code, response.content) == (204, b"")


def test_a_deleted_meter_is_unknown_by_slug(mount):
    add_meter(mount)
    mount.delete("/meters/usage")
    refused(mount.get("/meters/usage"), 404)
    refused(mount.get("/meters/usage/query"), 404)
    refused(mount.put("/meters/usage", json={}), 404)
    refused(mount.delete("/meters/usage"), 404)


def test_a_deleted_meter_is_shown_by_id_with_its_end(mount):
    created = add_meter(mount)
    mount.delete(f"/meters/{created['id']}")
    shown = mount.get(f"/meters/{created['id']}").json()
    assert shown["slug"] == "usage"
    assert instant(shown["deletedAt"]) >= instant(created["createdAt"])


def test_a_meter_may_be_deleted_twice_by_id(mount):
    created = add_meter(mount)
    assert mount.delete(f"/meters/{created['id']}").status_code == 204
    ended = mount.get(f"/meters/{created['id']}").json()["deletedAt"]
    assert mount.delete(f"/meters/{created['id']}").status_code == 204
    assert mount.get(f"/meters/{created['id']}").json()["deletedAt"] == ended


def test_an_unknown_meter_cannot_be_deleted(mount):
    refused(mount.delete("/meters/nothing"), 404)
    refused(mount.delete("/meters/01JZZZZZZZZZZZZZZZZZZZZZZZ"), 404)


def test_a_slug_is_free_again_after_a_deletion(mount):
    first = add_meter(mount)
    mount.delete("/meters/usage")
    second = add_meter(mount)
    assert second["id"] != first["id"]
    assert mount.get("/meters/usage").json() == second


def test_a_meter_made_again_sees_the_events_of_the_past(mount):
    add_meter(mount)
    ingest(mount, make_event(data={"value": 3}))
    mount.delete("/meters/usage")
    ingest(mount, make_event(data={"value": 4}))
    add_meter(mount)
    assert values(query(mount)) == [7]


def test_a_deleted_meter_can_be_queried_by_id(mount):
    created = add_meter(mount)
    ingest(mount, make_event(data={"value": 3}))
    mount.delete("/meters/usage")
    assert values(query(mount, created["id"])) == [3]


def test_a_deletion_leaves_other_meters_of_the_type_alone(mount):
    add_meter(mount)
    add_meter(mount, slug="other", aggregation="MAX")
    ingest(mount, make_event(data={"value": 3}))
    mount.delete("/meters/usage")
    assert values(query(mount, "other")) == [3]
