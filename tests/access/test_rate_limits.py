"""Rate limits as a client meets them; two API processes count together."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from meterhouse.access.secrets import new_client_secret

from .conftest import TOKEN_PATH, list_buckets

CAPACITY = 20
REFILL_SECONDS = 4  # long enough to tell from the time that the calls themselves take
RATES = {
    "list_buckets": {"requests": 1, "window_seconds": REFILL_SECONDS, "burst": CAPACITY},
    "create_access_token": {"requests": 1, "window_seconds": 600, "burst": 5},
    "failed_login": {"requests": 1, "window_seconds": 600, "burst": 3},
}


@pytest.fixture(scope="module")
def limited(start_api) -> tuple[str, str]:
    """The base URLs of two processes that share one Redis."""
    apis = [start_api(METERHOUSE_RATE_LIMITS=json.dumps(RATES)) for _ in range(2)]
    return apis[0].base_url, apis[1].base_url


def at_once(base_urls: tuple[str, str], key: str, count: int) -> list[httpx.Response]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda i: list_buckets(base_urls[i % 2], key), range(count)))


def test_one_call_over_the_burst_is_refused_and_after_one_refill_one_more_passes(limited, make_api_key):
    key = make_api_key()["apiKey"]
    for base_url in limited:  # each has looked the key up: what follows is fast
        httpx.get(f"{base_url}/v1/metering/unknown", headers={"Authorization": f"Bearer {key}"})
    started = time.monotonic()
    answers = at_once(limited, key, CAPACITY + 1)
    assert sorted(answer.status_code for answer in answers) == [200] * CAPACITY + [429]
    time.sleep(REFILL_SECONDS + 0.05)
    more = at_once(limited, key, 4)
    assert time.monotonic() - started < 2 * REFILL_SECONDS, "too slow to judge"
    assert sorted(answer.status_code for answer in more) == [200, 429, 429, 429]


def test_every_answer_says_the_policy_and_what_is_left(limited, make_api_key):
    key = make_api_key()["apiKey"]
    first, second = list_buckets(limited[0], key), list_buckets(limited[1], key)
    assert first.headers["RateLimit-Policy"] == f'"list_buckets";q={CAPACITY};w={CAPACITY * REFILL_SECONDS}'
    assert first.headers["RateLimit"] == f'"list_buckets";r={CAPACITY - 1};t={REFILL_SECONDS}'
    assert second.headers["RateLimit"].startswith(f'"list_buckets";r={CAPACITY - 2};t=')


def test_a_refused_call_says_when_to_come_back(limited, make_api_key):
    key = make_api_key()["apiKey"]
    refused = next(a for a in at_once(limited, key, CAPACITY + 5) if a.status_code == 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= REFILL_SECONDS
    assert refused.headers["RateLimit"] == f'"list_buckets";r=0;t={refused.headers["Retry-After"]}'
    assert "list_buckets" in refused.text


def test_clients_and_operations_have_buckets_of_their_own(limited, make_account, make_api_key):
    account_id = make_account()
    one, other = (make_api_key(account_id=account_id)["apiKey"] for _ in range(2))
    assert 429 in [answer.status_code for answer in at_once(limited, one, CAPACITY + 5)]
    assert list_buckets(limited[0], other).status_code == 200
    created = httpx.post(f"{limited[0]}/v1/metering", json={}, headers={"Authorization": f"Bearer {one}"})
    assert created.is_success
    assert created.headers["RateLimit-Policy"].startswith('"create_bucket"')


def test_a_call_without_its_scope_costs_nothing(limited, make_api_key):
    key = make_api_key("--scopes", "read:usage")["apiKey"]
    answers = at_once(limited, key, CAPACITY + 5)
    assert {answer.status_code for answer in answers} == {403}
    assert all("RateLimit" not in answer.headers for answer in answers)


def test_tokens_are_limited_per_application_in_the_form_of_oauth(limited, make_application):
    application = make_application()
    answers = [httpx.post(limited[i % 2] + TOKEN_PATH, json=application.asks()) for i in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[0].headers["RateLimit-Policy"] == '"create_access_token";q=5;w=3000'
    assert set(answers[-1].json()) == {"error", "error_description"}
    assert int(answers[-1].headers["Retry-After"]) > 60
    assert answers[-1].headers["RateLimit"].startswith('"create_access_token";r=0;t=')


def test_after_a_few_wrong_secrets_none_is_looked_at(limited, make_application):
    application, other = make_application(), make_application()
    wrong = application.asks(client_secret=new_client_secret())
    assert [httpx.post(url + TOKEN_PATH, json=wrong).status_code for url in limited] == [401, 401]
    assert httpx.post(limited[0] + TOKEN_PATH, json=application.asks()).status_code == 200
    assert httpx.post(limited[0] + TOKEN_PATH, json=wrong).status_code == 401
    refused = httpx.post(limited[1] + TOKEN_PATH, json=application.asks())
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert httpx.post(limited[0] + TOKEN_PATH, json=other.asks()).status_code == 200


@pytest.mark.parametrize(
    ("proxies", "counted"),
    [("127.0.0.1", "each client"), ("127.0.0.0/8", "each client"), ("*", "each client"), ("10.0.0.0/8", "the proxy")],
)
def test_wrong_secrets_are_counted_for_the_client_that_a_trusted_proxy_names(
    start_api, make_application, proxies, counted
):
    api = start_api(METERHOUSE_RATE_LIMITS=json.dumps(RATES), METERHOUSE_TRUSTED_PROXIES=proxies)
    wrong = make_application().asks(client_secret=new_client_secret())

    def guess(client):
        answer = httpx.post(api.base_url + TOKEN_PATH, json=wrong, headers={"X-Forwarded-For": client})
        return answer.status_code

    assert [guess("203.0.113.1") for _ in range(4)] == [401, 401, 401, 429]
    assert guess("203.0.113.2") == (401 if counted == "each client" else 429)


def test_right_secrets_cost_no_failed_login(limited, make_application):
    application = make_application()
    statuses = [httpx.post(limited[0] + TOKEN_PATH, json=application.asks()).status_code for _ in range(5)]
    assert statuses == [200] * 5


def test_without_redis_calls_pass_unlimited_and_the_server_says_so(installation, start_api, make_api_key, tmp_path):
    key = make_api_key()["apiKey"]
    link = tmp_path / "redis.sock"
    alone = start_api(METERHOUSE_RATE_LIMITS=json.dumps(RATES), METERHOUSE_REDIS_URL=f"unix://{link}").base_url
    answers = at_once((alone, alone), key, CAPACITY + 5)
    assert {answer.status_code for answer in answers} == {200}
    assert all("RateLimit" not in answer.headers for answer in answers)
    ready = httpx.get(f"{alone}/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    metrics = httpx.get(f"{alone}/metrics").text
    assert "meterhouse_rate_limit_available 0.0" in metrics
    unchecked = re.search(r"^meterhouse_rate_limit_unchecked_total (\S+)$", metrics, re.MULTILINE)
    assert unchecked
    assert float(unchecked[1]) >= CAPACITY + 5

    link.symlink_to(installation.environment["METERHOUSE_REDIS_URL"].removeprefix("unix://").partition("?")[0])
    deadline = time.monotonic() + 5
    while httpx.get(f"{alone}/readyz").json()["status"] != "ok":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    statuses = [answer.status_code for answer in at_once((alone, alone), key, CAPACITY + 5)]
    assert statuses.count(200) == CAPACITY
    assert "meterhouse_rate_limit_available 1.0" in httpx.get(f"{alone}/metrics").text


def test_limits_that_are_off_say_nothing(api, make_api_key):
    answer = list_buckets(api.base_url, make_api_key()["apiKey"])
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers
