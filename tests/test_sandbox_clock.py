"""The clock of a sandbox: moved by hand, followed by all processes, and by everything that metering does in time."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.conftest import TLS
from tests.sandbox import open_sandbox, parse
from tests.tenants import make_tenant, paths_of, refused
from tests.usage_engine import make_schedule, ok

SECOND = timedelta(seconds=1)


def clock(client):
    return parse(ok(client.get("/sandbox/v1/clock"))["now"])


def test_the_clock_shows_the_present_and_goes_on_by_itself(customer):
    first = customer.now()
    time.sleep(0.02)
    assert first < customer.now() < first + 60 * SECOND


def test_it_is_set_to_an_instant_and_goes_on_from_there(customer):
    wanted = customer.now() + timedelta(days=40)
    answer = ok(customer.client.put("/sandbox/v1/clock", json={"now": wanted.isoformat()}))
    assert answer.keys() == {"now"}
    assert wanted <= parse(answer["now"]) <= customer.now() < wanted + 60 * SECOND


def test_it_is_advanced_by_seconds(customer):
    before = customer.now()
    for seconds in (0, 0.5, 86_400):
        answer = ok(customer.client.post("/sandbox/v1/clock/advance", json={"seconds": seconds}))
    assert before + timedelta(days=1) < parse(answer["now"]) <= customer.now() < before + timedelta(days=1, minutes=1)


def test_an_instant_in_another_zone_is_the_same_instant(customer):
    wanted = customer.now().replace(microsecond=0) + timedelta(hours=1)
    shifted = wanted.astimezone(UTC).replace(tzinfo=None) - timedelta(hours=3)
    ok(customer.client.put("/sandbox/v1/clock", json={"now": f"{shifted.isoformat()}-03:00"}))
    assert wanted <= customer.now() < wanted + 60 * SECOND


def test_it_is_never_set_back(customer):
    present = customer.now()
    for earlier in (present - SECOND, datetime(2001, 1, 1, tzinfo=UTC), datetime.now(UTC)):
        body = refused(customer.client.put("/sandbox/v1/clock", json={"now": earlier.isoformat()}), 400)
        assert paths_of(body) == ["now"]
    assert customer.now() >= present


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        *[
            ("PUT", "/clock", {"now": bad}, "now")
            for bad in (None, "", "tomorrow", 1, True, [], "2090-13-01T00:00:00Z")
        ],
        ("PUT", "/clock", {"now": "2090-01-01T00:00:00"}, "now"),
        ("PUT", "/clock", {"now": "2101-01-01T00:00:00Z"}, "now"),
        ("PUT", "/clock", {}, "now"),
        ("PUT", "/clock", {"now": "2090-01-01T00:00:00Z", "seconds": 1}, "seconds"),
        *[("POST", "/clock/advance", {"seconds": bad}, "seconds") for bad in (None, "1", -1, -0.1, True, [], 10**12)],
        ("POST", "/clock/advance", {}, "seconds"),
        ("POST", "/clock/advance", {"seconds": 1, "days": 1}, "days"),
        ("POST", "/clock/advance", {"seconds": 80 * 366 * 86_400}, "seconds"),
        *[("POST", "/settle", {"timeoutSeconds": bad}, "timeoutSeconds") for bad in (0, -1, "5", None, True, 601)],
        ("POST", "/settle", {"timeout": 5}, "timeout"),
    ],
)
def test_a_bad_body_names_its_field_and_moves_nothing(customer, method, path, body, field):
    before = customer.now()
    answer = customer.client.request(method, f"/sandbox/v1{path}", json=body)
    assert paths_of(refused(answer, 400)) == [field]
    assert customer.now() < before + 60 * SECOND


@pytest.mark.parametrize(("method", "path"), [("PUT", "/clock"), ("POST", "/clock/advance")])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"2090-01-01T00:00:00Z"', b"\xff"])
def test_what_is_no_object_is_refused(customer, method, path, content):
    refused(customer.client.request(method, f"/sandbox/v1{path}", content=content), 400)


ROUTES = [("GET", "/clock"), ("PUT", "/clock"), ("POST", "/clock/advance"), ("POST", "/settle")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_strangers_are_refused(sandbox, method, path):
    refused(httpx.request(method, f"{sandbox.api.base_url}/sandbox/v1{path}", verify=TLS), 401)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_the_setting_there_is_nothing_at_the_path(api, method, path):
    refused(httpx.request(method, f"{api.base_url}/sandbox/v1{path}", json={}, verify=TLS), 404)


def test_every_process_follows(sandbox, customer, start_api):
    other = start_api(**{name: sandbox.installation.environment[name] for name in SHARED})
    with httpx.Client(base_url=other.base_url, headers=customer.client.headers, verify=TLS) as client:
        customer.advance(days=10)
        shown = customer.now()
        assert shown <= clock(client)
        ok(client.post("/sandbox/v1/clock/advance", json={"seconds": 86_400}))
        assert shown + timedelta(days=1) <= customer.now()
        late = start_api(**{name: sandbox.installation.environment[name] for name in SHARED})
        with httpx.Client(base_url=late.base_url, headers=customer.client.headers, verify=TLS) as third:
            assert shown + timedelta(days=1) <= clock(third)


SHARED = ("METERHOUSE_DATABASE_URL", "METERHOUSE_SANDBOX")


def test_moves_at_once_add_up(customer):
    """Of advances none is lost; nobody ever sees the clock go back."""
    before = customer.now()
    seen = []

    def advance(_):
        with httpx.Client(base_url=customer.client.base_url, headers=customer.client.headers, verify=TLS) as client:
            for _ in range(5):
                ok(client.post("/sandbox/v1/clock/advance", json={"seconds": 3600}))
                seen.append([clock(client) for _ in range(3)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, range(8)))
    assert all(shown == sorted(shown) for shown in seen)
    assert timedelta(hours=40) <= customer.now() - before < timedelta(hours=40, minutes=5)


def test_tokens_and_rate_limits_do_not_follow(sandbox, start_api):
    """A token of an hour is still good a month later, and a bucket of tokens is not refilled by moving the clock."""
    limits = {"list_meters": {"requests": 1, "window_seconds": 3600, "burst": 3}}
    own = {name: sandbox.installation.environment[name] for name in SHARED}
    limited = start_api(METERHOUSE_RATE_LIMITS=json.dumps(limits), **own)
    with make_tenant(sandbox.installation, limited.base_url).client() as client:
        path = "/usage-metering/v1/meters"
        assert [client.get(path).status_code for _ in range(4)] == [200, 200, 200, 429]
        ok(client.post("/sandbox/v1/clock/advance", json={"seconds": 31 * 86_400}))
        assert client.get(path).status_code == 429
        assert client.get("/usage-metering/v1/meter-types").status_code == 200
    with make_tenant(sandbox.installation, limited.base_url).client() as client:  # logs in after the move
        assert client.get(path).status_code == 200


def test_portal_tokens_do_not_follow(customer):
    """They are tokens: browsers that hold them live in the machine's time."""
    bucket = ok_or_created(customer.client.post("/v1/metering", json={}))
    headers = {"X-Bucket-Id": bucket["id"]}
    meter = {"slug": "m", "aggregation": "COUNT", "eventType": "t"}
    ok_or_created(customer.client.post("/api/v1/meters", json=meter, headers=headers))
    asked = {"subject": "a", "expiresAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    token = ok_or_created(customer.client.post("/api/v1/portal/tokens", json=asked, headers=headers))["token"]
    customer.advance(days=2)
    answer = httpx.get(
        f"{customer.sandbox.api.base_url}/api/v1/portal/meters/m/query",
        headers={"Authorization": f"Bearer {token}"},
        verify=TLS,
    )
    assert answer.status_code == 200, answer.text


def ok_or_created(answer):
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_meters_and_their_first_period_are_of_the_clock(customer):
    customer.advance(days=3)
    before = customer.now()
    meter = customer.add_meter(customer.add_type())
    assert before <= parse(meter["createdAt"]) == parse(meter["periodStart"]) <= customer.now()
    assert parse(meter["periodEnd"]) > before


def test_usage_of_the_clocks_present_is_not_in_the_future(customer):
    with customer.metering() as stream:
        stream.deploy()
        meter = stream.add_meter(customer.add_type())
        customer.advance(days=2)
        stream.use(meter, 1, timestamp=customer.now().isoformat())
        stream.use(meter, 1, timestamp=(customer.now() + timedelta(hours=1)).isoformat())
        customer.settle()
        assert customer.meter(meter)["value"] == 1
        [rejected] = stream.rejected()
        assert "future" in rejected["error"]


def test_a_worker_that_is_at_work_follows_too(customer):
    """Usage is never ahead of the worker's clock, though the worker had begun to read before the clock was moved."""
    with customer.metering() as stream:
        stream.deploy()
        meter = stream.add_meter(customer.add_type(resetSchedule=make_schedule(month="1")))
        for _ in range(150):
            customer.advance(seconds=1)
            stream.use(meter, 1, timestamp=customer.now().isoformat())
        customer.settle()
        assert stream.rejected() == []
        assert customer.meter(meter)["value"] == 150


def test_rejected_records_are_forgotten_after_six_months_of_the_clock(customer):
    with customer.metering() as stream:
        stream.deploy()
        stream.send({"userId": "nobody", "value": 1})
        customer.settle()
        customer.advance(days=170)
        customer.settle()
        assert len(stream.rejected()) == 1
        customer.advance(days=20)
        customer.settle()
        assert stream.rejected() == []


def test_deduplication_forgets_by_the_clock(customer):
    deduplicating = {"key": "${payload.n}", "lifeTimeDays": 10, "multiOutput": {"fixed": {"unique": {"id": "u"}}}}
    with customer.metering(before=("transforms/deduplicate", deduplicating, "u")) as stream:
        stream.deploy()
        meter = stream.add_meter(customer.add_type())
        for days, value in ((0, 1), (9, 1), (2, 2)):
            customer.advance(days=days)
            stream.use(meter, 1, n="same", timestamp="")
            customer.settle()
            assert total(customer, meter) == value


def total(customer, meter):
    """Over closed periods and the running one."""
    return sum(period["value"] for period in customer.periods(meter)) + customer.meter(meter)["value"]


def test_sessions_time_out_by_the_clock(customer):
    script = {
        "groupByRules": [{"fields": ["userId"]}],
        "onTransform": "session.data.value = payload.value; session.setTimeout(new Date(Date.now() + 3600 * 1000))",
        "onTimeout": "await push({ userId: session.key, value: session.data.value }); session.flush()",
    }
    with customer.metering(before=("transforms/script_aggregate", script, None)) as stream:
        stream.deploy()
        meter = stream.add_meter(customer.add_type())
        stream.use(meter, 7)
        customer.settle()
        assert total(customer, meter) == 0
        customer.advance(hours=2)
        customer.settle()
        assert total(customer, meter) == 7


def test_scripts_see_the_clock(customer):
    script = """
    const shown = [Date.now(), new Date().getTime(), Date.parse(Date()), require("moment")().valueOf()];
    const fixed = new Date(2020, 1, 3).getDate() === 3 && new Date(0).getTime() === 0 && Date.UTC(1970, 0) === 0;
    const date = new Date() instanceof Date && new Date().toISOString() !== undefined;
    const near = shown.every((ms) => Math.abs(ms - Date.parse(payload.now)) < 120_000);
    await push({ userId: payload.userId, value: near && fixed && date ? 1 : 1000, timestamp: new Date().toISOString() });
    """
    with customer.metering(before=("transforms/script", {"transform": script}, None)) as stream:
        stream.deploy()
        meter = stream.add_meter(customer.add_type(resetSchedule=make_schedule(month="1")))
        customer.advance(days=100)
        stream.use(meter, 0, now=customer.now().isoformat())
        customer.settle()
        assert (total(customer, meter), stream.rejected()) == (1, [])


# --- settle ----------------------------------------------------------------------------------------------------------


def test_settle_returns_when_what_was_sent_is_counted_and_put_out(customer):
    """Many times, with much to do: no look at the results ever comes too early."""
    with customer.metering() as stream:
        stream.deploy()
        customer.wait_for_morning()
        kind = customer.add_type(resetSchedule=make_schedule(day="*"))
        meters = [stream.add_meter(kind) for _ in range(5)]
        for day in range(1, 6):
            stream.send(*({"userId": meter["userId"], "value": 1} for meter in meters for _ in range(700)))
            customer.settle()
            assert [total(customer, meter) for meter in meters] == [700 * day] * 5
            customer.advance(days=1)
            customer.settle()
            assert [len(customer.periods(meter)) for meter in meters] == [day] * 5
            assert len(stream.outputs("resets")) == 5 * day


def test_settle_answers_the_clock(customer):
    answer = ok(customer.client.post("/sandbox/v1/settle"))
    assert answer.keys() == {"now", "settled"}
    assert answer["settled"] is True
    assert parse(answer["now"]) <= customer.now()


def test_without_a_worker_settle_gives_up_and_says_what_is_left(installation, start_api, tmp_path_factory):
    with open_sandbox(installation, start_api, tmp_path_factory) as alone, alone.open_customer() as customer:
        customer.wait_for_morning()
        meter = customer.add_meter(customer.add_type(resetSchedule=make_schedule(day="*")))
        ok(customer.client.post("/sandbox/v1/settle", json={"timeoutSeconds": 0.2}))  # there is nothing to do
        customer.advance(days=2)
        body = refused(customer.client.post("/sandbox/v1/settle", json={"timeoutSeconds": 0.2}), 503)
        assert "1 meters" in body["message"]
        assert "worker" in body["message"]
        assert customer.periods(meter) == []
        alone.start_worker()
        customer.settle()
        assert len(customer.periods(meter)) == 2
        with alone.database() as database:
            [ahead] = database.execute("SELECT ahead_microseconds FROM sandbox_clock").fetchone()
        assert timedelta(days=2) <= timedelta(microseconds=ahead) < timedelta(days=4)
