"""Rules of the house that are checked, not wished: routes, schema, transactions, health, logs."""

import json
import subprocess
import sys
import time

import httpx
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fastapi.routing import iter_route_contexts
from sqlalchemy import create_engine

from meterhouse.access.operations import OPERATIONS
from meterhouse.app import create_app
from meterhouse.settings import SettingsError, read_settings
from meterhouse.tables import metadata

OPEN = {"livez", "readyz", "metrics", "get_jwks", "get_openid_configuration"}
OPEN |= {"index", "reference", "reference_bundle", "openapi_document"}
"""Routes that anyone may call as often as they like."""


def test_every_route_is_an_operation_and_every_operation_a_route(installation):
    sandbox = read_settings(installation.environment | {"METERHOUSE_SANDBOX": "true"})
    routes = list(iter_route_contexts(create_app(sandbox).router.routes))
    assert len(routes) > 40
    assert {route.name for route in routes} - OPEN == set(OPERATIONS) - {"failed_login"}
    assert all(route.endpoint.__name__ == route.name for route in routes)


def test_the_migrations_make_the_tables_of_the_program(installation):
    engine = create_engine(installation.environment["METERHOUSE_DATABASE_URL"])
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_tenant_leads_every_primary_and_unique_key():
    """So that the tables can be distributed by it. Signing keys and the clock are the installation's, not a tenant's."""
    own = {"signing_keys": {"kid"}, "sandbox_clock": {"id"}}
    for table in metadata.tables.values():
        keys = [table.primary_key.columns, *(index.columns for index in table.indexes if index.unique)]
        keys += [c.columns for c in table.constraints if type(c).__name__ == "UniqueConstraint"]
        leading = {next(iter(key)).name for key in keys}
        assert leading == own.get(table.name, {"account_id"}), table.name


def libpq(installation):
    return installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")


def test_a_commit_that_fails_is_not_a_success(installation, bucket):
    """A deferred trigger fails at the commit, after the route has returned its answer."""
    with psycopg.connect(libpq(installation), autocommit=True) as database:
        database.execute(
            """
            CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN IF NEW.name = 'fails at commit' THEN RAISE 'no'; END IF; RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER fail_at_commit AFTER INSERT ON customers
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_at_commit();
            """
        )
        try:
            assert bucket.openmeter.post("/customers", json={"name": "fails at commit"}).status_code == 500
        finally:
            database.execute("DROP TRIGGER fail_at_commit ON customers; DROP FUNCTION fail_at_commit")
    assert bucket.openmeter.get("/customers").json()["totalCount"] == 0


def test_the_api_refuses_to_start_on_another_schema(installation):
    with psycopg.connect(libpq(installation), autocommit=True) as database:
        database.execute("CREATE DATABASE unmigrated")
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("/meterhouse?", "/unmigrated?")
    started = subprocess.run(
        [sys.executable, "-m", "meterhouse", "api"],
        env=installation.environment | {"METERHOUSE_DATABASE_URL": url, "METERHOUSE_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert started.returncode == 1
    assert "meterhouse migrate" in started.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METERHOUSE_PORT", "many"),
        ("METERHOUSE_RATE_LIMITS", '{"list_events": {"requests": 0, "window_seconds": 1, "burst": 1}}'),
        ("METERHOUSE_RATE_LIMITS", "{broken"),
        ("METERHOUSE_SECRET_KEY", "short"),
        ("METERHOUSE_PORTT", "8000"),
        ("METERHOUSE_TRUSTED_PROXIES", "10.0.0.0/8 proxy"),
        ("METERHOUSE_TRUSTED_PROXIES", "* 10.0.0.1"),
        ("METERHOUSE_SECRET_KEY_FILE", "/nowhere/secret-key"),
    ],
)
def test_a_setting_that_is_wrong_or_unknown_is_named(name, value):
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})


def test_a_setting_may_stand_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("s" * 40 + "\n")
    file = {"METERHOUSE_SECRET_KEY_FILE": str(tmp_path / "secret")}
    assert read_settings(file).secret_key == "s" * 40
    with pytest.raises(SettingsError, match="METERHOUSE_SECRET_KEY_FILE"):
        read_settings(file | {"METERHOUSE_SECRET_KEY": "t" * 40})
    (tmp_path / "secret").write_text("short")
    with pytest.raises(SettingsError, match="METERHOUSE_SECRET_KEY"):
        read_settings(file)
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(SettingsError, match="METERHOUSE_SECRET_KEY_FILE"):
        read_settings(file)


def test_health_tells_schema_postgres_redis_and_the_lag_of_both_writers(start_api):
    limited = start_api(METERHOUSE_RATE_LIMITS="{}")
    ready = httpx.get(f"{limited.base_url}/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ok",
        "checks": {
            "postgres": "ok",
            "schema": "current",
            "redis": "ok",
            "writer": {"waiting": 0, "lagSeconds": 0.0},
            "inbox": {"waiting": 0, "lagSeconds": 0.0},
        },
    }


def test_without_redis_usage_flows_and_readyz_and_a_metric_say_so(start_api, installation, make_bucket):
    bucket = make_bucket()
    cut_off = start_api(METERHOUSE_RATE_LIMITS="{}", METERHOUSE_REDIS_URL="unix:///nowhere/redis.sock")
    headers = {"Authorization": f"Bearer {bucket.api_key}", "X-Bucket-Id": bucket.id}
    event = {"id": "1", "source": "s", "specversion": "1.0", "type": "t", "subject": "a"}
    sent = httpx.post(f"{cut_off.base_url}/api/v1/events", json=event, headers=headers)
    assert (sent.status_code, "ratelimit" in sent.headers) == (204, False)
    ready = httpx.get(f"{cut_off.base_url}/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert "meterhouse_rate_limit_available 0.0" in httpx.get(f"{cut_off.base_url}/metrics").text


def test_metrics_count_requests_by_operation_and_status(api, bucket):
    bucket.openmeter.get("/meters/nothing")
    assert (
        'meterhouse_requests_total{operation="get_bucket_meter",status="404"}'
        in httpx.get(f"{api.base_url}/metrics").text
    )


def test_a_log_line_carries_the_request_id_and_no_payload_or_secret(api, bucket):
    event = {"id": "1", "source": "s", "specversion": "1.0", "type": "t", "subject": "a", "data": {"x": "hush-hush"}}
    answer = bucket.openmeter.post("/events", json=event, headers={"X-Request-Id": "trace-me-42"})
    assert answer.headers["x-request-id"] == "trace-me-42"
    bucket.openmeter.post("/events", json=event | {"data": "hush-hush"})
    time.sleep(0.1)
    log = api.log.read_text()
    line = next(json.loads(line) for line in log.splitlines() if "trace-me-42" in line)
    assert (line["operation"], line["status"]) == ("ingest_events", 204)
    assert "hush-hush" not in log
    assert bucket.api_key not in log
