"""`meterhouse conformance` against this very server: all is as it should be, and nothing stays behind."""

import json
import subprocess
from dataclasses import replace

import httpx
import psycopg
import pytest

from meterhouse.conformance.command import check_conformance
from tests.conftest import COMMAND

pytestmark = pytest.mark.odd_requests("the check sends bad events beside good ones")

STREAMS = "/stream-management/v1/streams"


@pytest.fixture(scope="module")
def target(make_target, api):
    return make_target(api.base_url)


@pytest.fixture
def credentials(target, worker, tmp_path):
    """The file as a first start writes it, but for a stream."""
    kept = {"clientId": target.application.client_id, "clientSecret": target.application.client_secret}
    kept |= {"audience": target.application.audience, "apiKey": target.api_key}
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(kept))
    return path


def run(environment, *arguments):
    return subprocess.run(
        [*COMMAND, "conformance", *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_this_server_conforms_and_nothing_is_left(credentials, api, plain_environment, installation):
    done = run(plain_environment, "--base-url", api.base_url, "--credentials", str(credentials), "--json")
    report = json.loads(done.stdout)
    assert [one for one in report["results"] if one["outcome"] != "pass"] == []
    assert done.returncode == 0, done.stderr
    assert report["conforms"] is True
    assert len(report["results"]) > 200
    assert all(one["source"] and one["expected"] and one["seen"] for one in report["results"])
    checked = {one["operation"] for one in report["results"]}
    needed = {"create_access_token", "delete_meter", "send_data", "list_stream_versions", "lookup_aggregation_session"}
    needed |= {"delete_bucket", "update_bucket_meter", "ingest_events", "query_bucket_meter_post"}
    assert needed <= checked

    kept = json.loads(credentials.read_text())
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url) as database:
        account = database.execute("SELECT account_id FROM clients WHERE client_id = %s", [kept["clientId"]]).fetchone()
        for table in ("meter_types", "meters", "collectors", "streams"):
            left = database.execute(f"SELECT count(*) FROM {table} WHERE account_id = %s", account).fetchone()
            assert left == (0,), table
    headers = {"Authorization": f"Bearer {kept['apiKey']}"}
    buckets = httpx.get(f"{api.base_url}/v1/metering", headers=headers).json()
    assert buckets["total"] == 1, "the one that every account begins with"
    assert httpx.get(f"{api.base_url}/api/v1/meters", headers=headers).json() == []
    assert httpx.get(f"{api.base_url}/api/v1/events", headers=headers).json() == []


def test_limits_are_waited_out(start_api, target):
    """With one collector in two seconds there is no way around being refused."""
    often, seldom = ({"requests": n, "window_seconds": 2, "burst": n} for n in (100, 1))
    limits = {"create_collector": seldom, "update_collector": often, "delete_collector": often}
    limited = start_api(METERHOUSE_RATE_LIMITS=json.dumps(limits))
    report = check_conformance(replace(target, base_url=limited.base_url), ["collectors", "bucket-meters"])
    assert report.conforms, report.as_table()
    assert "429" in limited.log.read_text(), "some call was refused"


def test_a_chosen_bucket_is_used_and_its_meters_are_deleted(api, target, plain_environment):
    headers = {"Authorization": f"Bearer {target.api_key}"}
    bucket_id = httpx.get(f"{api.base_url}/v1/metering", headers=headers).json()["data"][0]["id"]
    chosen = ("--api-key", target.api_key, "--bucket", bucket_id, "--only", "events")
    done = run(plain_environment, "--base-url", api.base_url, *chosen)
    assert done.returncode == 0, done.stdout
    events = httpx.get(f"{api.base_url}/v3/metering/{bucket_id}/events", headers=headers).json()
    assert {one["event"]["type"].partition(".")[0] for one in events} == {"conformance"}
    assert httpx.get(f"{api.base_url}/v1/metering/{bucket_id}", headers=headers).status_code == 200


def test_a_key_of_one_bucket_is_enough(api, installation, plain_environment):
    account_id = installation.run("accounts", "create", "--name", "narrow")["accountId"]
    bucket_id = installation.run("buckets", "list", "--account", account_id)[0]["bucketId"]
    mine = ("--account", account_id, "--name", "narrow", "--bucket", bucket_id)
    key = installation.run("api-keys", "create", *mine)["apiKey"]
    done = run(plain_environment, "--base-url", api.base_url, "--api-key", key, "--only", "usage", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    skipped = [one["operation"] for one in report["results"] if one["outcome"] == "skip"]
    assert skipped == ["create_bucket"]


def test_an_account_with_five_collectors_is_told_and_keeps_them(api, make_target):
    target = make_target(api.base_url)
    asked = {"client_id": target.application.client_id, "client_secret": target.application.client_secret}
    asked |= {"audience": target.application.audience, "grant_type": "client_credentials"}
    token = httpx.post(f"{api.base_url}/authentication/v1/oauth/token", json=asked).json()["access_token"]
    with httpx.Client(base_url=api.base_url, headers={"Authorization": f"Bearer {token}"}) as client:
        for number in range(5):
            client.post("/online-collection/v1/collectors", json={"name": str(number)}).raise_for_status()
        report = check_conformance(target, ["collectors"])
        assert not report.conforms
        assert "the account has its five collectors already" in report.as_table()
        assert client.get("/online-collection/v1/collectors").json()["total"] == 5


def test_the_table_tells_each_check_and_how_many_there_were(api, target, plain_environment):
    done = run(plain_environment, "--base-url", api.base_url, "--api-key", target.api_key, "--only", "bucket-meters")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["result", "operation", "behaviour", "expected", "seen", "rule"]
    passed = [line for line in lines if line.startswith("pass")]
    assert any("a slug that is taken is refused" in line and " 409" in line for line in passed)
    assert lines[-1] == f"{len(passed)} as they should be, 0 not"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--client-id"),
        (["--client-id", "x"], "--client-secret"),
        (["--credentials", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_without_credentials_it_says_which_it_needs(plain_environment, tmp_path, arguments, told):
    environment = plain_environment | {"METERHOUSE_DATA_DIR": str(tmp_path)}
    done = run(environment, "--base-url", "http://127.0.0.1:1", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_is_not_there_is_a_failure_not_a_success(target):
    report = check_conformance(replace(target, base_url="http://127.0.0.1:1"))
    assert not report.conforms
    assert "ConnectError" in report.as_table()
