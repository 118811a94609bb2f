"""Token buckets in Redis: what limits how often one client calls one operation, over all processes.

One call to Redis is in flight at a time and carries all that waited meanwhile, so a busy process pays for a round trip,
not for a request. Without Redis calls are let through unchecked and counted: limits protect the service, they must not
be what stops it.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from meterhouse.access.operations import effective_rates
from meterhouse.settings import Rate, Settings, SettingsError

_log = logging.getLogger(__name__)

_REDIS_TIMEOUT_SECONDS = 0.25
_RETRY_SECONDS = 1.0
_LARGEST_EXACT = 2**53  # Lua's numbers are doubles: whole numbers are exact up to here

_unchecked = Counter("meterhouse_rate_limit_unchecked", "Calls let through without a rate limit: Redis was away.")
_available = Gauge("meterhouse_rate_limit_available", "1 while Redis enforces rate limits, 0 while it is away.")
_available.set(1)

# A bucket holds whole "units": `refill` of them arrive every tick, a token costs `cost`. Everything stays a whole
# number below 2^53 and divisions go through fmod, so no rounding refuses the call that is due or lets one in early.
_SCRIPT = """
local wanted, refill, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local burst, tick_us = tonumber(ARGV[4]), tonumber(ARGV[5])
local function whole(a, b) return (a - math.fmod(a, b)) / b end
local function ceil(a, b) return whole(a + b - 1, b) end
local time = redis.call('TIME')
local now = whole(tonumber(time[1]) * 1000000 + tonumber(time[2]), tick_us)
local capacity = burst * cost
local units = capacity
local kept = redis.call('GET', KEYS[1])
if kept then
  local held, at = string.match(kept, '^(%d+) (%d+)$')
  units = tonumber(held)
  local elapsed = math.max(0, now - tonumber(at))
  if elapsed >= ceil(capacity - units, refill) then units = capacity else units = units + elapsed * refill end
end
local granted = math.min(wanted, whole(units, cost))
if granted > 0 then
  units = units - granted * cost
  local full_ms = ceil(ceil(capacity - units, refill) * tick_us, 1000)
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', units, now), 'PX', string.format('%.0f', full_ms))
end
local next_us = 0
if units < capacity then next_us = ceil(cost - math.fmod(units, cost), refill) * tick_us end
return {granted, whole(units, cost), next_us}
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """`remaining` whole tokens after this call; `next_token_us` is 0 when the bucket is full."""

    granted: bool
    remaining: int
    next_token_us: int


@dataclass(frozen=True, slots=True)
class _Limit:
    """A rate in the script's terms, ready to send."""

    key_prefix: str
    arguments: tuple[int, int, int, int]
    policy: str


def units(rate: Rate) -> tuple[int, int, int]:
    """`(refill, cost, tick_us)`: units per tick, units per token, and the finest tick of which all stays exact."""
    for tick_us in (1, 10, 100):
        window_ticks = rate.window_seconds * 1_000_000 // tick_us
        shared = math.gcd(rate.requests, window_ticks)
        refill, cost = rate.requests // shared, window_ticks // shared
        if rate.burst * cost + refill < _LARGEST_EXACT:
            break
    return refill, cost, tick_us


def policy(operation: str, rate: Rate) -> str:
    """RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10): `w` is how long an empty bucket takes to fill."""
    seconds_to_full = -(-rate.burst * rate.window_seconds // rate.requests)
    return f'"{operation}";q={rate.burst};w={seconds_to_full}'


def _limit(operation: str, rate: Rate) -> _Limit:
    refill, cost, tick_us = units(rate)
    # The rate is part of the key: the numbers kept under it mean nothing to another rate.
    key_prefix = f"meterhouse:rate:{operation}:{rate.requests}/{rate.window_seconds}/{rate.burst}:"
    return _Limit(key_prefix, (refill, cost, rate.burst, tick_us), policy(operation, rate))


@dataclass(slots=True)
class _Queue:
    """Who waits for one bucket; `peeks` only look."""

    arguments: tuple[int, int, int, int]
    takes: list[asyncio.Future[Grant | None]]
    peeks: list[asyncio.Future[Grant | None]]


class TokenBuckets:
    """`redis` None or `rates` None: limits are off and every answer is None."""

    def __init__(self, redis: Redis | None, rates: Mapping[str, Rate] | None) -> None:
        self._redis = redis
        self._limits = {name: _limit(name, rate) for name, rate in (rates or {}).items()} if redis else {}
        self._sha = ""
        self._waiting: dict[str, _Queue] = {}
        self._sending: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """False while Redis is away and calls pass unchecked."""
        return self._recovering is None

    def policy(self, operation: str) -> str:
        return self._limits[operation].policy

    async def take(self, operation: str, client: str) -> Grant | None:
        """One token, or not; None when unchecked (limits off, Redis away)."""
        return await self._ask(operation, client, take=True)

    async def peek(self, operation: str, client: str) -> Grant | None:
        """`granted` says whether a token is there; none is taken."""
        return await self._ask(operation, client, take=False)

    async def _ask(self, operation: str, client: str, *, take: bool) -> Grant | None:
        if not self._limits:
            return None
        if self._recovering is not None:
            _unchecked.inc()
            return None
        limit = self._limits[operation]
        key = limit.key_prefix + client
        queue = self._waiting.get(key)
        if queue is None:
            queue = self._waiting[key] = _Queue(limit.arguments, [], [])
        answer: asyncio.Future[Grant | None] = asyncio.get_running_loop().create_future()
        (queue.takes if take else queue.peeks).append(answer)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        return await answer

    async def _send_all(self) -> None:
        batch: dict[str, _Queue] = {}
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                try:
                    replies = await self._call(batch)
                except (RedisError, OSError, TimeoutError) as error:
                    self._give_up(error, batch)
                    continue
                for queue, reply in zip(batch.values(), replies, strict=True):
                    _share_out(queue, reply)
        finally:
            # However this ends, nobody waits for ever. Those who have their answer keep it.
            self._sending = None
            for queue in (*batch.values(), *self._waiting.values()):
                _answer(queue.takes + queue.peeks, None)
            self._waiting = {}

    async def _call(self, batch: dict[str, _Queue]) -> list[tuple[int, int, int]]:
        """`(granted, remaining, next_us)` per bucket."""
        try:
            return await self._call_script(batch)
        except NoScriptError:
            # A restarted or failed-over Redis has forgotten the script; it said so to all of the batch.
            self._sha = ""
            return await self._call_script(batch)

    async def _call_script(self, batch: dict[str, _Queue]) -> list[tuple[int, int, int]]:
        assert self._redis is not None
        if not self._sha:
            self._sha = await self._redis.script_load(_SCRIPT)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, queue in batch.items():
                pipeline.evalsha(self._sha, 1, key, len(queue.takes), *queue.arguments)
            return await pipeline.execute()

    def _give_up(self, error: Exception, batch: dict[str, _Queue]) -> None:
        _log.warning("rate limits are not enforced: %s", error)
        _available.set(0)
        self._recovering = asyncio.create_task(self._recover())
        for queues in (batch, self._waiting):
            for queue in queues.values():
                _unchecked.inc(len(queue.takes) + len(queue.peeks))
                _answer(queue.takes + queue.peeks, None)
        self._waiting = {}

    async def _recover(self) -> None:
        """Asks once a second, beside the requests, so that none of them waits for a Redis that is away."""
        assert self._redis is not None
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                # A write: a read-only replica would answer a ping.
                await self._redis.set("meterhouse:rate:probe", "1", px=1_000)
            except (RedisError, OSError, TimeoutError):
                continue
            break
        self._recovering = None
        _available.set(1)
        _log.info("rate limits are enforced again")

    async def close(self) -> None:
        tasks = [task for task in (self._sending, self._recovering) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._redis is not None:
            await self._redis.aclose()


def _share_out(queue: _Queue, reply: tuple[int, int, int]) -> None:
    """First come, first served, each as if it had asked alone."""
    granted, remaining, next_us = reply
    for place, answer in enumerate(queue.takes):
        passed = place < granted
        _answer([answer], Grant(passed, remaining + granted - place - 1 if passed else remaining, next_us))
    _answer(queue.peeks, Grant(remaining > 0, remaining, next_us))


def _answer(answers: list[asyncio.Future[Grant | None]], grant: Grant | None) -> None:
    for answer in answers:
        if not answer.done():  # its caller may be gone
            answer.set_result(grant)


def open_token_buckets(settings: Settings) -> TokenBuckets:
    """Connects when first used. Raises SettingsError for limits without a Redis to keep them in."""
    rates = effective_rates(settings)
    if rates is None:
        return TokenBuckets(None, None)
    if settings.redis_url is None:
        raise SettingsError("METERHOUSE_REDIS_URL: rate limits need a Redis; set it, or METERHOUSE_RATE_LIMITS=off")
    redis = Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=_REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return TokenBuckets(redis, rates)
