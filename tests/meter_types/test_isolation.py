"""What belongs to another account does not exist, and a token opens only what its scopes name."""

import uuid

import pytest

from tests.usage_engine import make_meter, make_type, ok, open_account, refused

READS = {("GET", "/meter-types"), ("GET", "/meter-types/{}")}
OPERATIONS = [
    *sorted(READS),
    ("POST", "/meter-types"),
    ("PATCH", "/meter-types/{}"),
    ("DELETE", "/meter-types/{}"),
    ("GET", "/meters"),
    ("POST", "/meters"),
    ("GET", "/meters/{}"),
    ("PATCH", "/meters/{}"),
    ("DELETE", "/meters/{}"),
]


@pytest.fixture(scope="module")
def reader(installation, api):
    with open_account(installation, api, "--scopes", "read:meter_types") as opened:
        yield opened


def test_another_accounts_type_does_not_exist(account, stranger):
    meter_type = account.add_type(externalRef="not the stranger's")
    path = f"/meter-types/{meter_type['id']}"
    refused(stranger.get(path), 404)
    refused(stranger.patch(path, {"unit": "stolen"}), 404)
    refused(stranger.delete(path), 404)
    assert ok(stranger.get("/meter-types", name=meter_type["name"])) == {"meterTypes": []}
    refused(stranger.post("/meters", make_meter(meterTypeId=meter_type["id"])), 400)
    refused(stranger.post("/meters", make_meter(externalRef="not the stranger's")), 400)
    assert ok(account.get(path)) == meter_type


def test_another_accounts_meter_does_not_exist(account, stranger):
    meter = account.add_meter(account.add_type())
    path = f"/meters/{meter['id']}"
    refused(stranger.get(path), 404)
    refused(stranger.patch(path, {"deleteOnReset": True}), 404)
    refused(stranger.delete(path), 404)
    for name in ("userId", "meterTypeId"):
        assert ok(stranger.get("/meters", **{name: meter[name]})) == {"meters": []}
    assert ok(account.get(path)) == meter


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_scope_opens_only_its_operations(reader, method, path):
    response = reader.client.request(method, path.format(uuid.uuid4()), json=make_type() if method == "POST" else None)
    if (method, path) in READS:
        assert response.status_code in (200, 404)
    else:
        refused(response, 401)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nobody_gets_in_without_a_token(account, method, path):
    response = account.client.request(method, path.format("x"), headers={"Authorization": "Bearer nothing"})
    refused(response, 401)


@pytest.mark.parametrize("path", ["/meter-types", "/meters"])
def test_other_methods_are_not_allowed(account, path):
    assert set(account.client.put(path).headers["allow"].split(", ")) == {"GET", "POST"}
    refused(account.client.put(path), 405)
    refused(account.client.put(f"{path}/{uuid.uuid4()}"), 405)
