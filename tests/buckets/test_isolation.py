"""A key sees its own account, a key of a bucket its own bucket; everything else does not exist."""

import httpx
import pytest

from .make import add_customer, add_meter, ingest, make_event, make_meter, query, refused, values

ROUTES = [
    ("GET", "/meters", None),
    ("POST", "/meters", make_meter(slug="foreign")),
    ("GET", "/meters/usage", None),
    ("PUT", "/meters/usage", {}),
    ("DELETE", "/meters/usage", None),
    ("GET", "/meters/usage/query", None),
    ("POST", "/meters/usage/query", {}),
    ("GET", "/meters/usage/group-by/model/values", None),
    ("POST", "/events", [make_event()]),
]
OPENMETER_ROUTES = [
    ("GET", "/meters/usage/subjects", None),
    ("GET", "/events", None),
    ("GET", "/customers", None),
    ("POST", "/customers", {"name": "Foreign"}),
    ("GET", "/customers/acme", None),
    ("PUT", "/customers/acme", {"name": "Foreign"}),
    ("DELETE", "/customers/acme", None),
    ("POST", "/portal/tokens", {"subject": "alice"}),
]


@pytest.fixture(scope="module")
def mine(make_bucket):
    made = make_bucket()
    add_meter(made.seed, groupBy={"model": "$.model"})
    add_customer(made.openmeter, key="acme")
    ingest(made.seed, make_event())
    return made


@pytest.fixture(scope="module")
def clients(api):
    """Makes clients for a key and closes them in the end."""
    opened = []

    def make(key, **headers):
        client = httpx.Client(base_url=api.base_url, headers={"Authorization": f"Bearer {key}"} | headers, timeout=30)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def key_of(installation, *arguments):
    return installation.run("api-keys", "create", "--name", "test", "--account", *arguments)["apiKey"]


@pytest.fixture(scope="module")
def stranger_key(installation, make_account):
    return key_of(installation, make_account())


@pytest.fixture(scope="module")
def bound_key(installation, make_bucket):
    """A key of one bucket in the same account, and that bucket."""
    made = make_bucket()
    return key_of(installation, made.account_id, "--bucket", made.id), made


def assert_untouched(bucket):
    assert [meter["slug"] for meter in bucket.seed.get("/meters").json()] == ["usage"]
    assert values(query(bucket.seed)) == [1]
    assert [one["key"] for one in bucket.openmeter.get("/customers").json()["items"]] == ["acme"]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_another_account_finds_nothing_on_the_seed_mount(mine, clients, stranger_key, method, path, body):
    client = clients(stranger_key)
    refused(client.request(method, f"/v3/metering/{mine.id}{path}", json=body), 404)
    assert_untouched(mine)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES + OPENMETER_ROUTES)
def test_another_account_finds_nothing_on_the_openmeter_mount(mine, clients, stranger_key, method, path, body):
    client = clients(stranger_key, **{"X-Bucket-Id": mine.id})
    refused(client.request(method, f"/api/v1{path}", json=body), 404)
    assert_untouched(mine)


def test_another_account_finds_no_bucket(mine, clients, stranger_key):
    client = clients(stranger_key)
    refused(client.get(f"/v1/metering/{mine.id}"), 404)
    refused(client.delete(f"/v1/metering/{mine.id}"), 404)
    refused(client.get("/api/v2/events", headers={"X-Bucket-Id": mine.id}), 404)
    assert mine.id not in client.get("/v1/metering").text
    assert_untouched(mine)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_the_key_of_a_bucket_finds_nothing_of_another_on_the_seed_mount(mine, clients, bound_key, method, path, body):
    client = clients(bound_key[0])
    refused(client.request(method, f"/v3/metering/{mine.id}{path}", json=body), 404)
    assert_untouched(mine)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES + OPENMETER_ROUTES)
def test_the_key_of_a_bucket_finds_nothing_of_another_by_header(mine, clients, bound_key, method, path, body):
    client = clients(bound_key[0], **{"X-Bucket-Id": mine.id})
    refused(client.request(method, f"/api/v1{path}", json=body), 404)
    assert_untouched(mine)


def test_the_key_of_a_bucket_finds_no_other_bucket(mine, clients, bound_key):
    client = clients(bound_key[0])
    refused(client.get(f"/v1/metering/{mine.id}"), 404)
    assert client.delete(f"/v1/metering/{mine.id}").status_code in (403, 404)
    assert mine.id not in client.get("/v1/metering").text
    assert_untouched(mine)


def test_the_key_of_a_bucket_works_in_its_own(clients, bound_key):
    key, made = bound_key
    client = clients(key)
    assert client.post("/api/v1/meters", json=make_meter()).status_code == 201
    assert client.post("/api/v1/events", json=make_event()).status_code == 204
    assert client.get("/api/v1/meters").json() == client.get(f"/v3/metering/{made.id}/meters").json()
    assert client.get("/api/v1/meters", headers={"X-Bucket-Id": made.id}).status_code == 200
    assert values(query(made.seed)) == [1]


def test_a_key_of_an_account_has_a_default_bucket(clients, stranger_key):
    client = clients(stranger_key)
    assert client.post("/v1/metering", json={}).status_code == 201
    assert client.post("/api/v1/meters", json=make_meter(slug="default_usage")).status_code == 201
    assert [meter["slug"] for meter in client.get("/api/v1/meters").json()] == ["default_usage"]


@pytest.mark.parametrize("bucket_id", ["mtr_000000000000000000000000", "nothing", "'", "mtr_" + "x" * 5_000])
def test_a_bucket_that_is_none_is_not_found(mine, clients, bucket_id):
    client = clients(mine.api_key, **{"X-Bucket-Id": bucket_id})
    refused(client.get("/api/v1/meters"), 404)


def test_queries_of_one_bucket_never_count_another(make_bucket):
    first, second = make_bucket(), make_bucket()
    for bucket in (first, second):
        add_meter(bucket.seed, groupBy={"model": "$.model"})
    ingest(first.seed, make_event(subject="only-first", data={"value": 1, "model": "a"}))
    assert query(second.seed, groupBy=["subject", "model"]) == []
    assert second.openmeter.get("/meters/usage/subjects").json() == []
    assert second.openmeter.get("/events", params={"from": "2025-01-01T00:00:00Z"}).status_code in (200, 400)
    assert second.root.get("/api/v2/events").json()["items"] == []
