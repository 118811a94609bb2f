"""Other spellings of paths: the old /api prefix and those of the settings."""

import json
import uuid

import httpx
import pytest

from meterhouse.app import create_app
from meterhouse.settings import Settings, SettingsError, read_settings

from .conftest import TLS
from .tenants import make_tenant, refused

ALIASES = {
    "/oc/v1/collectors/{id}/data": "/online-collection/v1/collectors/{id}/send",
    "/api/v1/agg/{store}/find": "/aggregation/v1/stores/{store}/sessions/lookup",
    "/oc/v1/{ingestion}/of/{id}": "/online-collection/v1/collectors/{id}/ingestions/{ingestion}",
}


@pytest.fixture(scope="module")
def aliased(start_api):
    return start_api(METERHOUSE_PATH_ALIASES=json.dumps(ALIASES))


@pytest.fixture(scope="module")
def client(installation, aliased):
    with make_tenant(installation, aliased.base_url).client() as client:
        yield client


@pytest.fixture(scope="module")
def collector_id(client):
    return client.post("/online-collection/v1/collectors", json={"name": "x"}).json()["id"]


def test_an_alias_is_the_same_operation(client, collector_id):
    sent = client.post(f"/oc/v1/collectors/{collector_id}/data", json={"data": {}})
    assert sent.status_code == 202
    found = client.get(f"/oc/v1/{sent.json()['ingestionId']}/of/{collector_id}")
    assert found.json()["collectorId"] == collector_id


def test_the_canonical_path_still_works_beside_its_alias(client, collector_id):
    assert client.post(f"/online-collection/v1/collectors/{collector_id}/send", json={"data": {}}).status_code == 202


def test_errors_of_an_aliased_path_speak_the_dialect_of_the_operation(client, collector_id):
    refused(client.post(f"/oc/v1/collectors/{uuid.uuid4()}/data", json={"data": {}}), 404)
    refused(client.post(f"/oc/v1/collectors/{collector_id}/data", json={}), 400)
    assert refused(client.get(f"/oc/v1/collectors/{collector_id}/data"), 405)
    # The alias itself lies where buckets' problems are spoken.
    refused(client.get("/api/v1/agg/none/find", params={"fieldValues": "a"}), 404)


def test_what_only_resembles_an_alias_is_not_found(client, collector_id):
    for path in (
        "/oc/v1/collectors//data",
        f"/oc/v1/collectors/{collector_id}/data/",
        "/oc",
        "/oc/v1/collectors/a/b/data",
    ):
        refused(client.post(path, json={"data": {}}), 404)


@pytest.mark.parametrize(
    "path",
    ["/online-collection/v1/collectors", f"/aggregation/v1/stores/{'0' * 40}/sessions/lookup?fieldValues=a"],
)
def test_the_old_prefix_is_accepted(client, path):
    assert client.get(f"/api{path}").status_code == client.get(path).status_code
    assert client.get(f"/api{path}").json() == client.get(path).json()


def test_the_token_route_has_the_old_prefix_too(client):
    asked = httpx.post(f"{client.base_url}/api/authentication/v1/oauth/token", json={}, verify=TLS)
    assert (asked.status_code, asked.json()["error"]) == (400, "invalid_request")


def test_errors_under_the_old_prefix_are_the_usage_engines(client):
    refused(client.get(f"/api/stream-management/v1/streams/{uuid.uuid4()}/export"), 404)
    refused(client.get("/api/usage-metering/v1/nothing"), 404)


@pytest.mark.parametrize(
    ("alias", "target", "said"),
    [
        ("oc/{id}", "/online-collection/v1/collectors/{id}", "must begin with a slash"),
        ("/{id}/x", "/online-collection/v1/collectors/{id}", "must begin with a slash and a name"),
        ("/oc/{name}", "/online-collection/v1/collectors/{id}", "other placeholders"),
        ("/oc/{id}/{more}", "/online-collection/v1/collectors/{id}", "other placeholders"),
        ("/oc/{id}/{id}", "/online-collection/v1/collectors/{id}", "placeholder twice"),
        ("/oc/x{id}", "/online-collection/v1/collectors/{id}", "one {placeholder}"),
        ("/oc//{id}", "/online-collection/v1/collectors/{id}", "one {placeholder}"),
        ("/oc/{id}", "/online-collection/v2/collectors/{id}", "no operation has the path"),
        ("/oc/{id}", "/oc/{id}", "no operation has the path"),
        ("/stream-management/v1/{x}/{id}/export", "/stream-management/v1/streams/{id}/export", "other placeholders"),
        ("/online-collection/v1/{id}", "/online-collection/v1/collectors/{id}", "would hide"),
        ("/livez", "/readyz", "would hide /livez"),
    ],
)
def test_an_alias_that_cannot_work_is_refused_at_the_start(alias, target, said):
    with pytest.raises(SettingsError, match="METERHOUSE_PATH_ALIASES") as refusal:
        create_app(Settings(path_aliases={alias: target}))
    assert alias in str(refusal.value) or target in str(refusal.value)
    assert said in str(refusal.value)


def test_two_spellings_of_one_alias_are_refused():
    target = "/online-collection/v1/collectors/"
    with pytest.raises(SettingsError, match="twice"):
        create_app(Settings(path_aliases={"/oc/{a}": target + "{a}", "/oc/{b}": target + "{b}"}))


@pytest.mark.parametrize("value", ["{broken", "[]", '{"/a": 5}', "text"])
def test_aliases_that_are_no_json_object_of_texts_are_refused(value):
    with pytest.raises(SettingsError, match="METERHOUSE_PATH_ALIASES"):
        read_settings({"METERHOUSE_PATH_ALIASES": value})
