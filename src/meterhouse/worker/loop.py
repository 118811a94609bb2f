"""The worker's loop: jobs in their rounds and steps of streams, several at once, until told to stop.

What fails is reported and tried again. What takes too long when the worker stops is rolled back, and done again later.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import threading
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock
from meterhouse.access.secrets import Secrets, open_secrets
from meterhouse.database import make_engine, require_current_schema
from meterhouse.meters.reset import close_due_meters
from meterhouse.outbound import Outbound
from meterhouse.sandbox.follow import follow, read_clock
from meterhouse.settings import Settings, SettingsError
from meterhouse.streams.function import Services, read_own_clock
from meterhouse.streams.run import run_due_step
from meterhouse.streams.scripts import open_sandbox
from meterhouse.webhooks.deliver import Deliverer
from meterhouse.worker.jobs import JOBS, Job

_log = logging.getLogger(__name__)

MAX_MEMORY_BYTES = 4 * 1024**3
"""A step that wants more fails, instead of taking it away from everything else on the machine. Linux keeps it."""

TICK_SECONDS = 1.0
IDLE_SECONDS = 0.2
LOOKUPS = 64

STEPPERS = 4
"""Steps at once: a stream that waits for another server does not hold up the others. Each has its own sandbox."""

STOP_SECONDS = 5
"""How long steps that are under way may still take when the worker is told to stop."""

EXIT_SECONDS = 10
"""When it ends all the same, whatever it is caught in (a name server that does not answer, a job)."""


async def work(settings: Settings, *, stop_with_parent: bool) -> None:
    """Runs until SIGTERM or SIGINT; with `stop_with_parent` also until the process that started it is gone."""
    if settings.database_url is None:
        raise SettingsError(
            "METERHOUSE_DATABASE_URL: is not set; `meterhouse serve` brings its own database and worker"
        )
    stop = asyncio.Event()
    end = _stop_on_signals(stop)
    _limit_memory()
    parent = os.getppid()
    engine = make_engine(settings.database_url, pool_size=STEPPERS + 4)
    secrets = open_secrets(settings)
    flush_every = timedelta(seconds=settings.flush_seconds)
    services = Services(
        Outbound(settings.http_hosts),
        secrets.fernet,
        settings.missed_periods,
        flush_every,
        read_clock if settings.sandbox else read_own_clock,
    )
    deliverer = Deliverer(engine, Outbound(settings.http_hosts), secrets.fernet)
    # Hosts are looked up in threads. A slow name server must not hold up the calls to other hosts.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOKUPS, "lookup"))

    async def in_time() -> None:
        if settings.sandbox:
            await follow(engine)

    async def step_streams() -> bool:
        await in_time()
        return await run_due_step(engine, services)

    async def close_periods() -> bool:
        await in_time()
        return await close_due_meters(engine, clock.now(), settings.missed_periods)

    async def deliver() -> bool:
        await in_time()
        return await deliverer.deliver_due()

    due = dict.fromkeys(JOBS, monotonic())
    try:
        await require_current_schema(engine)
        _collect_less_garbage()
        _log.info("the worker is running")
        rounds = [_Rounds("closing periods", close_periods), _Rounds("deliveries", deliver)]
        stepping = _Rounds("a step of a stream", step_streams)
        working = [asyncio.create_task(_repeat(one, stop)) for one in rounds]
        working += [asyncio.create_task(_step_streams(stepping, stop)) for _ in range(STEPPERS)]
        while not stop.is_set() and not (stop_with_parent and os.getppid() != parent):
            await _do_due_jobs(due, engine, secrets, stop, sandbox=settings.sandbox)
            await _wait(stop, TICK_SECONDS)
        end()
        await _end(working)
    finally:
        await deliverer.close()
        await services.http.close()
        await engine.dispose()


def _stop_on_signals(stop: asyncio.Event) -> Callable[[], None]:
    """Also what stops without a signal."""

    def end() -> None:
        stop.set()
        exit_anyway = threading.Timer(EXIT_SECONDS, os._exit, (1,))
        exit_anyway.daemon = True
        exit_anyway.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return end


def _limit_memory() -> None:
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force, or it cannot be set here
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _collect_less_garbage() -> None:
    """What lives as long as the process needs no look by the collector, nor does all that a slice makes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _do_due_jobs(
    due: dict[str, float], engine: AsyncEngine, secrets: Secrets, stop: asyncio.Event, *, sandbox: bool
) -> None:
    for name, job in JOBS.items():
        if due[name] <= monotonic() and not stop.is_set():
            due[name] = monotonic() + job.pause_seconds(sandbox=sandbox)
            await _run(name, job, engine, secrets)


async def _run(name: str, job: Job, engine: AsyncEngine, secrets: Secrets) -> None:
    try:
        async with engine.begin() as connection:
            result = await job.run(connection, secrets, job.read_clock())
    except Exception:  # noqa: BLE001 - one job must not stop the others
        _log.exception("the job failed: %s", name)
        return
    if result:
        _log.info("the job did something: %s", name, extra={"fields": {"result": result}})


@dataclass(slots=True)
class _Rounds:
    """One kind of work, for any number of tasks: those that find nothing to do take turns in looking."""

    what: str
    do: Callable[[], Awaitable[bool]]
    """Whether there may be more to do at once."""
    due: float = 0


async def _repeat(rounds: _Rounds, stop: asyncio.Event) -> None:
    while not stop.is_set():
        if (pause := rounds.due - monotonic()) > 0:
            await _wait(stop, pause)
            continue
        rounds.due = monotonic() + IDLE_SECONDS
        try:
            if await rounds.do():
                rounds.due = 0
        except Exception:  # noqa: BLE001 - what fails is tried again, and must not stop the others
            _log.exception("%s failed", rounds.what)


async def _step_streams(rounds: _Rounds, stop: asyncio.Event) -> None:
    async with open_sandbox():
        await _repeat(rounds, stop)


async def _end(working: Collection[asyncio.Task[None]]) -> None:
    """What is cancelled leaves nothing, whatever it has called meanwhile; another worker does it again."""
    _, late = await asyncio.wait(working, timeout=STOP_SECONDS)
    for task in late:
        _log.warning("what was under way took too long to end: it is rolled back and done again later")
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
