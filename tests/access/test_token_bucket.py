"""The buckets themselves, on the real Redis."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from meterhouse.access.token_bucket import Grant, TokenBuckets, open_token_buckets, units
from meterhouse.settings import Rate, Settings, SettingsError

# One token in 200 ms, three at once.
RATES = {"list_events": Rate(requests=5, window_seconds=1, burst=3)}
SLOW = {"list_events": Rate(requests=1, window_seconds=3_600, burst=100)}


@pytest.fixture
def redis_url(installation) -> str:
    return installation.environment["METERHOUSE_REDIS_URL"]


@pytest.fixture
def client() -> str:
    return secrets.token_hex(8)


def with_buckets(redis_url: str, work: Callable[[TokenBuckets, Redis], Awaitable[None]], **rates: Rate) -> None:
    async def run() -> None:
        buckets = open_token_buckets(Settings(redis_url=redis_url, rate_limits=rates or RATES))
        redis = Redis.from_url(redis_url, decode_responses=True)
        try:
            await work(buckets, redis)
        finally:
            await buckets.close()
            await redis.aclose()

    asyncio.run(run())


def test_a_bucket_grants_its_burst_and_counts_down(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        grants = [await buckets.take("list_events", client) for _ in range(4)]
        assert [(g.granted, g.remaining) for g in grants if g] == [(True, 2), (True, 1), (True, 0), (False, 0)]
        assert 0 < grants[-1].next_token_us <= 200_000

    with_buckets(redis_url, work)


def test_calls_at_once_share_the_burst_exactly(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        grants = await asyncio.gather(*(buckets.take("list_events", client) for _ in range(150)))
        assert [g.granted for g in grants if g] == [True] * 100 + [False] * 50
        assert [g.remaining for g in grants if g] == [*range(99, -1, -1)] + [0] * 50

    with_buckets(redis_url, work, **SLOW)


def test_two_processes_with_one_bucket_grant_no_more_than_one(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        other = open_token_buckets(Settings(redis_url=redis_url, rate_limits=SLOW))
        both = await asyncio.gather(*(b.take("list_events", client) for _ in range(100) for b in (buckets, other)))
        await other.close()
        assert sum(g.granted for g in both if g) == 100

    with_buckets(redis_url, work, **SLOW)


def test_the_next_token_comes_when_it_was_announced_and_not_earlier(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        for _ in range(3):
            await buckets.take("list_events", client)
        for _ in range(5):
            refused = await buckets.take("list_events", client)
            assert refused is not None
            assert not refused.granted
            await asyncio.sleep(refused.next_token_us / 2_000_000)
            too_early = await buckets.take("list_events", client)
            assert too_early is not None
            assert not too_early.granted
            await asyncio.sleep(too_early.next_token_us / 1_000_000)
            granted = await buckets.take("list_events", client)
            assert granted is not None
            assert granted.granted

    with_buckets(redis_url, work)


@pytest.mark.parametrize("requests", [1, 7, 7_919, 100_000])
@pytest.mark.parametrize("window_seconds", [60, 86_399])
@pytest.mark.parametrize("burst", [1, 3, 10_000_000])
def test_a_bucket_fills_by_exact_whole_numbers(redis_url, client, requests, window_seconds, burst):
    """What Redis computed from a planted state equals what Python's unbounded integers give."""
    rate = Rate(requests=requests, window_seconds=window_seconds, burst=burst)
    refill, cost, tick_us = units(rate)
    key = f"meterhouse:rate:list_events:{requests}/{window_seconds}/{burst}:{client}"

    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        for held in (0, cost - 1, cost, cost + 1, burst * cost - cost, burst * cost - 1):
            at = time.time_ns() // 1_000 // tick_us - 1_234_567
            await redis.set(key, f"{held} {at}", px=60_000)
            grant = await buckets.take("list_events", client)
            assert grant is not None
            kept = await redis.get(key)
            if kept is None:  # full again, and so forgotten, before it could be looked at
                assert burst * cost * tick_us / refill < 1_000_000
                continue
            left, seen_at = map(int, kept.split())
            if not grant.granted:
                assert held + (time.time_ns() // 1_000 // tick_us - at) * refill < cost + refill * 1_000_000
                assert grant.remaining == 0
                continue
            assert left == min(burst * cost, held + (seen_at - at) * refill) - cost
            assert grant.remaining == left // cost
            assert grant.next_token_us == -(-(cost - left % cost) // refill) * tick_us

    with_buckets(redis_url, work, list_events=rate)


def test_a_peek_takes_nothing(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        for _ in range(10):
            peek = await buckets.peek("list_events", client)
            assert peek == Grant(granted=True, remaining=3, next_token_us=0)
        for _ in range(3):
            await buckets.take("list_events", client)
        peek = await buckets.peek("list_events", client)
        assert peek is not None
        assert not peek.granted

    with_buckets(redis_url, work)


def test_a_full_bucket_leaves_nothing_in_redis(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        await buckets.take("list_events", client)
        keys = [key async for key in redis.scan_iter(f"*{client}")]
        assert len(keys) == 1
        await asyncio.sleep(0.25)
        assert not await redis.exists(keys[0])

    with_buckets(redis_url, work)


def test_many_clients_at_once_are_answered_each_with_its_own(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        grants = await asyncio.gather(*(buckets.take("list_events", f"{client}{i % 50}") for i in range(250)))
        assert sum(g.granted for g in grants if g) == 150

    with_buckets(redis_url, work)


def test_a_redis_that_forgot_the_script_is_taught_again(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        await buckets.take("list_events", client)
        await redis.script_flush()
        grants = await asyncio.gather(*(buckets.take("list_events", f"{client}{i}") for i in range(3)))
        assert all(g and g.granted for g in grants)
        assert buckets.available

    with_buckets(redis_url, work)


def test_a_caller_that_goes_away_does_not_keep_the_others_waiting(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        first = asyncio.create_task(buckets.take("list_events", client))
        second = asyncio.create_task(buckets.take("list_events", client))
        await asyncio.sleep(0)
        first.cancel()
        grant = await asyncio.wait_for(second, 5)
        assert grant is not None
        assert grant.granted

    with_buckets(redis_url, work)


def test_limits_that_are_off_ask_nobody():
    async def work() -> None:
        buckets = open_token_buckets(Settings(redis_url="redis://127.0.0.1:1", rate_limits="off"))
        assert await buckets.take("list_events", "client") is None
        assert buckets.available
        await buckets.close()

    asyncio.run(work())


def test_limits_without_a_redis_are_a_settings_error():
    with pytest.raises(SettingsError, match="REDIS_URL"):
        open_token_buckets(Settings())


def test_without_redis_calls_pass_at_once_and_limits_return_with_it(redis_url, client, tmp_path: Path):
    """The socket is reached through a link, so that the test decides when Redis can be reached."""
    link = tmp_path / "redis.sock"
    real = redis_url.removeprefix("unix://").partition("?")[0]

    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        started = time.monotonic()
        grants = await asyncio.gather(*(buckets.take("list_events", client) for _ in range(1_000)))
        assert grants == [None] * 1_000
        assert not buckets.available
        for _ in range(1_000):
            assert await buckets.take("list_events", client) is None
        assert time.monotonic() - started < 0.5
        link.symlink_to(real)
        for _ in range(100):
            if buckets.available:
                break
            await asyncio.sleep(0.05)
        assert await buckets.take("list_events", client) == Grant(granted=True, remaining=2, next_token_us=200_000)

    with_buckets(f"unix://{link}", work)


def test_a_redis_that_hangs_delays_nobody_for_long(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        await buckets.take("list_events", client)
        await redis.client_pause(1_500)
        started = time.monotonic()
        assert await buckets.take("list_events", client) is None
        assert time.monotonic() - started < 0.6
        for _ in range(100):
            assert await buckets.take("list_events", client) is None
        assert time.monotonic() - started < 0.7
        await asyncio.sleep(3)
        assert buckets.available
        assert await buckets.take("list_events", client) is not None

    with_buckets(redis_url, work)


def test_a_redis_that_refuses_writes_counts_as_away_until_it_takes_them(redis_url, client):
    async def work(buckets: TokenBuckets, redis: Redis) -> None:
        await redis.config_set("min-replicas-to-write", 1)
        try:
            assert await buckets.take("list_events", client) is None
            await asyncio.sleep(1.5)
            assert not buckets.available
        finally:
            await redis.config_set("min-replicas-to-write", 0)
        await asyncio.sleep(1.5)
        assert buckets.available

    with_buckets(redis_url, work)
