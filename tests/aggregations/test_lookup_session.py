"""A look into an open session of a Script aggregator. Sessions are put into the database directly."""

import json
import uuid

import psycopg
import pytest

from meterhouse.rules.sessions import session_key
from tests.tenants import make_tenant, paths_of, refused


@pytest.fixture(scope="module")
def tenant(installation, api):
    return make_tenant(installation, api.base_url)


@pytest.fixture(scope="module")
def client(tenant):
    with tenant.client() as client:
        yield client


@pytest.fixture
def store_id():
    return (uuid.uuid4().hex * 2)[:40]


@pytest.fixture
def add_session(installation, tenant, store_id):
    def add(key, data="{}", meta="{}", timeout_at=None):
        url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
        with psycopg.connect(url) as database:
            database.execute(
                "INSERT INTO aggregation_sessions VALUES (%s, %s, %s, %s, %s, %s,"
                " '2025-10-27T14:04:31.648Z', '2025-10-27T16:00:17.809999Z')",
                (tenant.account_id, store_id, key, data, meta, timeout_at),
            )

    return add


def lookup(client, store_id, *values):
    return client.get(f"/aggregation/v1/stores/{store_id}/sessions/lookup", params={"fieldValues": list(values)})


def test_a_session_is_found_by_the_value_of_its_field(client, add_session, store_id):
    add_session("customer123", '{"sum": 0.10}', '{"count": 2}', "2025-10-28T16:00:17.645Z")
    answer = lookup(client, store_id, "customer123")
    assert answer.status_code == 200
    assert answer.json() == {
        "createdAt": "2025-10-27T14:04:31.648Z",
        "data": {"sum": 0.1},
        "meta": {"count": 2},
        "timeoutAt": "2025-10-28T16:00:17.645Z",
        "updatedAt": "2025-10-27T16:00:17.809Z",
    }


def test_a_session_without_a_timeout_has_null_there(client, add_session, store_id):
    add_session("a")
    assert lookup(client, store_id, "a").json()["timeoutAt"] is None


def test_numbers_come_back_with_every_digit(client, add_session, store_id):
    add_session("a", '{"n": 12345678901234567890.123456789012345678901, "i": 123456789012345678901234567890}')
    text = lookup(client, store_id, "a").text
    assert "12345678901234567890.123456789012345678901" in text
    assert "123456789012345678901234567890" in text


def test_several_values_are_looked_up_in_their_order(client, add_session, store_id):
    add_session('["customer123","order456"]', '{"found": true}')
    assert lookup(client, store_id, "customer123", "order456").json()["data"] == {"found": True}
    for other in (("order456", "customer123"), ("customer123",), ("customer123", "order456", "")):
        refused(lookup(client, store_id, *other), 404)


@pytest.mark.parametrize("values", [("ä😀", "x"), ('a"b', "c\\d"), ("", ""), ("a\nb", "\x7f\u2028"), ("true", "1.50")])
def test_a_key_of_several_values_is_their_compact_json(client, add_session, store_id, values):
    add_session(session_key(values))
    assert json.loads(session_key(values)) == list(values)
    assert lookup(client, store_id, *values).status_code == 200


@pytest.mark.parametrize("value", ["", " ", "ä&=+%", '["a"]', "1.0"])
def test_one_value_is_the_key_itself(client, add_session, store_id, value):
    add_session(value)
    assert lookup(client, store_id, value).status_code == 200


def test_without_values_or_with_one_that_cannot_be_kept_the_call_is_refused(client, store_id):
    assert paths_of(refused(lookup(client, store_id), 400)) == ["fieldValues"]
    assert paths_of(refused(lookup(client, store_id, "a", "\x00"), 400)) == ["fieldValues[1]"]
    assert paths_of(refused(lookup(client, store_id, *["a"] * 101), 400)) == ["fieldValues"]


def test_an_unknown_store_or_key_is_not_found(client, add_session, store_id):
    add_session("a")
    refused(lookup(client, store_id, "b"), 404)
    refused(lookup(client, store_id, "a" * 5_000), 404)
    refused(lookup(client, "0" * 40, "a"), 404)
    refused(lookup(client, "anything", "a"), 404)


def test_another_accounts_session_does_not_exist(installation, api, add_session, client, store_id):
    add_session("a")
    assert lookup(client, store_id, "a").status_code == 200
    with make_tenant(installation, api.base_url).client() as stranger:
        refused(lookup(stranger, store_id, "a"), 404)
