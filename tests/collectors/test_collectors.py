"""Create, list, get, rename and delete collectors."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tenants import paths_of, refused

from .conftest import COLLECTORS

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def list_names(client, **params):
    answer = client.get(COLLECTORS, params=params)
    assert answer.status_code == 200, answer.text
    return [collector["name"] for collector in answer.json()["collectors"]]


def test_a_created_collector_is_told_and_can_be_read(client, make_collector):
    created = make_collector("Example collector 1")
    assert set(created) == {"id", "name", "status", "createdAt", "updatedAt"}
    assert uuid.UUID(created["id"]).version == 4
    assert (created["name"], created["status"]) == ("Example collector 1", "ACTIVE")
    assert INSTANT.fullmatch(created["createdAt"])
    assert created["updatedAt"] == created["createdAt"]
    assert client.get(f"{COLLECTORS}/{created['id']}").json() == created


@pytest.mark.parametrize("name", ["x", "x" * 50, "Zähler 🧮", " "])
def test_a_name_has_one_to_fifty_characters(client, make_collector, name):
    assert make_collector(name)["name"] == name


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ("{}", "name"),
        ('{"name": ""}', "name"),
        ('{"name": "%s"}' % ("x" * 51), "name"),
        ('{"name": null}', "name"),
        ('{"name": 5}', "name"),
        ('{"name": "a\\u0000"}', "name"),
        ('{"name": "\\ud800"}', "name"),
        ('{"name": "x", "status": "ACTIVE"}', "status"),
    ],
)
def test_a_bad_member_is_named_by_create_and_update(client, collector, body, path):
    for method, url in (("POST", COLLECTORS), ("PATCH", f"{COLLECTORS}/{collector['id']}")):
        assert paths_of(refused(client.request(method, url, content=body), 400)) == [path]


@pytest.mark.parametrize("body", ["", "[]", '"x"', "{", '{"name": "a", "name": "b"}', "null", b"\xff"])
def test_a_body_that_is_no_object_is_refused_by_create_and_update(client, collector, body):
    for method, url in (("POST", COLLECTORS), ("PATCH", f"{COLLECTORS}/{collector['id']}")):
        refused(client.request(method, url, content=body), 400)


def test_an_update_changes_the_name_and_updated_at_alone(client, collector):
    answer = client.patch(f"{COLLECTORS}/{collector['id']}", json={"name": "Other"})
    assert answer.status_code == 200
    assert answer.json() == collector | {"name": "Other", "updatedAt": answer.json()["updatedAt"]}
    assert answer.json()["updatedAt"] >= collector["updatedAt"]
    assert client.get(f"{COLLECTORS}/{collector['id']}").json() == answer.json()


def test_an_update_to_the_name_it_has_is_fine(client, collector):
    assert client.patch(f"{COLLECTORS}/{collector['id']}", json={"name": collector["name"]}).status_code == 200


def test_a_name_is_unique_within_the_account(client, stranger, make_collector):
    make_collector("First")
    second = make_collector("Second")
    refused(client.post(COLLECTORS, json={"name": "First"}), 409)
    refused(client.patch(f"{COLLECTORS}/{second['id']}", json={"name": "First"}), 409)
    other = stranger.post(COLLECTORS, json={"name": "First"})
    assert other.status_code == 201
    stranger.delete(f"{COLLECTORS}/{other.json()['id']}")


def test_a_sixth_collector_is_a_conflict_until_one_is_deleted(client, make_collector):
    made = [make_collector(f"c{number}") for number in range(5)]
    refused(client.post(COLLECTORS, json={"name": "c5"}), 409)
    assert client.delete(f"{COLLECTORS}/{made[2]['id']}").json() == {"deletedCount": 1}
    make_collector("c5")


def test_of_many_creates_at_once_exactly_five_succeed(client, make_collector):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: client.post(COLLECTORS, json={"name": f"n{n}"}), range(16)))
    for answer in answers:
        if answer.status_code == 201:
            client.delete(f"{COLLECTORS}/{answer.json()['id']}")
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 11


def test_of_many_creates_of_one_name_at_once_exactly_one_succeeds(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post(COLLECTORS, json={"name": "same"}), range(8)))
    created = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    for collector_id in created:
        client.delete(f"{COLLECTORS}/{collector_id}")
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


def test_the_list_is_newest_first_and_tells_its_limits(client, make_collector):
    made = [make_collector(name) for name in ("b", "c", "a")]
    answer = client.get(COLLECTORS)
    assert answer.json() == {"collectors": made[::-1], "limit": 25, "skip": 0, "total": 3}


def test_the_list_is_paged_and_sorted(client, make_collector):
    for name in ("b", "c", "a"):
        made = make_collector(name)
    assert list_names(client, sortOrder="ASC") == ["b", "c", "a"]
    assert list_names(client, sortBy="name", sortOrder="ASC") == ["a", "b", "c"]
    assert list_names(client, sortBy="name", sortOrder="DESC") == ["c", "b", "a"]
    assert list_names(client, sortBy="createdAt", sortOrder="DESC") == ["a", "c", "b"]
    assert set(list_names(client, sortBy="status")) == {"a", "b", "c"}
    client.patch(f"{COLLECTORS}/{made['id']}", json={"name": "z"})
    assert list_names(client, sortBy="updatedAt", sortOrder="DESC")[0] == "z"
    page = client.get(COLLECTORS, params={"sortBy": "name", "sortOrder": "ASC", "limit": 1, "skip": 1}).json()
    assert ([one["name"] for one in page["collectors"]], page["limit"], page["skip"], page["total"]) == (["c"], 1, 1, 3)
    assert list_names(client, skip=3) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", ""),
        ("skip", "-1"),
        ("skip", "99999999999999999999"),
        ("sortOrder", "asc"),
        ("sortBy", "id"),
        ("sortBy", "created_at"),
    ],
)
def test_a_bad_page_is_refused_by_name(client, name, value):
    assert paths_of(refused(client.get(COLLECTORS, params={name: value}), 400)) == [name]


def test_a_deleted_collector_is_gone_with_its_data(client, make_collector, database):
    made = make_collector()
    sent = client.post(f"{COLLECTORS}/{made['id']}/send", json={"data": {}}).json()["ingestionId"]
    assert client.get(f"{COLLECTORS}/{made['id']}/ingestions/{sent}").status_code == 200
    answer = client.delete(f"{COLLECTORS}/{made['id']}")
    assert (answer.status_code, answer.json()) == (200, {"deletedCount": 1})
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", f"/ingestions/{sent}")):
        refused(client.request(method, f"{COLLECTORS}/{made['id']}{path}"), 404)
    assert database.execute("SELECT count(*) FROM inbox WHERE collector_id = %s", (made["id"],)).fetchone() == (0,)


OPERATIONS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/send"),
    ("GET", "/ingestions/6f0a7c5e-2b2d-4a55-9d7e-3a1f0c9b8e21"),
]


def body_for(method, path):
    return {"PATCH": {"name": "x"}, "POST": {"data": {}}}.get(method)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_malformed_id_is_named_and_an_unknown_one_is_not_found(client, method, path):
    body = body_for(method, path)
    assert paths_of(refused(client.request(method, f"{COLLECTORS}/not-a-uuid{path}", json=body), 400)) == ["id"]
    refused(client.request(method, f"{COLLECTORS}/{uuid.uuid4()}{path}", json=body), 404)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_another_accounts_collector_does_not_exist(client, stranger, collector, method, path):
    refused(stranger.request(method, f"{COLLECTORS}/{collector['id']}{path}", json=body_for(method, path)), 404)
    assert client.get(f"{COLLECTORS}/{collector['id']}").json() == collector
    assert stranger.get(COLLECTORS).json() == {"collectors": [], "limit": 25, "skip": 0, "total": 0}


def test_a_wrong_method_is_told_with_those_that_are_allowed(client, collector):
    answer = client.put(f"{COLLECTORS}/{collector['id']}", json={})
    refused(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, PATCH"
