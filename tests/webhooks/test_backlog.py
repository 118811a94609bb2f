"""What /metrics tells about the work that is left to workers."""

import math

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.usage_engine import ok
from tests.webhooks.house import add_meters, add_webhook, deliveries
from tests.webhooks.test_deliveries import wait_until


def gauges(house) -> dict[str, float]:
    answer = httpx.get(f"{house.api.base_url}/metrics")
    assert answer.status_code == 200
    lines = [line.split(" ") for line in answer.text.splitlines() if line.startswith("meterhouse_")]
    names = ("meterhouse_period", "meterhouse_deliver")
    return {name.removeprefix("meterhouse_"): float(value) for name, value in lines if name.startswith(names)}


def test_periods_that_are_due_are_counted_with_their_lag_until_a_worker_closes_them(house, account):
    nothing = {"periods_due": 0, "period_lag_seconds": 0, "periods_postponed": 0}
    nothing |= {"deliveries_pending": 0, "deliveries_parked": 0, "delivery_lag_seconds": 0}
    assert gauges(house) == nothing
    meters = add_meters(account, 3)
    house.advance(account, hours=2)
    found = gauges(house)
    assert found["periods_due"] == 3
    assert 3_600 <= found["period_lag_seconds"] < 7_200
    with house.database() as database:  # what no schedule can say, and no request can write
        broken = "UPDATE meters SET timezone = 'Nowhere/Never' WHERE id = %s"
        database.execute(broken, [meters[0]["id"]])
    house.start_worker()
    try:
        wait_until(lambda: gauges(house) == nothing | {"periods_postponed": 1})
    finally:
        house.stop_workers()


def test_deliveries_are_counted_by_status_and_those_of_a_webhook_that_is_off_do_not_lag(house, account):
    hook, gone = house.receiver.hook(500), house.receiver.hook(410)
    webhook = add_webhook(account, hook)
    add_webhook(account, gone)
    house.start_worker()
    try:
        house.end_periods(account, add_meters(account, 2))
        wait_until(lambda: gauges(house)["deliveries_parked"] >= 1)
        wait_until(lambda: all("lastError" in one for one in deliveries(account, webhook)))
    finally:
        house.stop_workers()
    house.advance(account, hours=1)
    found = gauges(house)
    assert found["deliveries_pending"] + found["deliveries_parked"] == 4
    assert found["deliveries_pending"] >= 2
    assert 3_000 < found["delivery_lag_seconds"] < 3_700
    ok(account.patch(f"/webhooks/{webhook['id']}", {"status": "DISABLED"}))
    assert gauges(house)["delivery_lag_seconds"] == 0


def test_while_the_database_is_away_metrics_are_answered_and_tell_no_numbers(house):
    url = house.installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            found = gauges(house)
        finally:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert len(found) == 6
    assert all(math.isnan(value) for value in found.values())
    assert not any(math.isnan(value) for value in gauges(house).values())
