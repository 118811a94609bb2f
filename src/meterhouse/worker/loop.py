"""The worker's loop: jobs in their rounds until told to stop; one that fails is reported and tried again next round."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock
from meterhouse.access.secrets import Secrets, open_secrets
from meterhouse.database import make_engine, require_current_schema
from meterhouse.meters.reset import BATCH, close_due_meters
from meterhouse.outbound import Outbound
from meterhouse.sandbox.follow import follow
from meterhouse.settings import Settings, SettingsError
from meterhouse.streams.function import Services
from meterhouse.streams.run import run_due_step
from meterhouse.streams.scripts import open_sandbox
from meterhouse.webhooks.deliver import Deliverer
from meterhouse.worker.jobs import JOBS, Job

_log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
IDLE_SECONDS = 0.2
LOOKUPS = 64


async def work(settings: Settings, *, stop_with_parent: bool) -> None:
    """Runs until SIGTERM or SIGINT; with `stop_with_parent` also until the process that started it is gone."""
    if settings.database_url is None:
        raise SettingsError(
            "METERHOUSE_DATABASE_URL: is not set; `meterhouse serve` brings its own database and worker"
        )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    parent = os.getppid()
    engine = make_engine(settings.database_url, pool_size=4)
    secrets = open_secrets(settings)
    services = Services(Outbound(settings.http_hosts), secrets.fernet, settings.missed_periods)
    deliverer = Deliverer(engine, Outbound(settings.http_hosts), secrets.fernet)
    # Hosts are looked up in threads. A slow name server must not hold up the calls to other hosts.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOKUPS, "lookup"))

    async def step_streams() -> bool:
        return await run_due_step(engine, services)

    async def close_periods() -> bool:
        return await close_due_meters(engine, clock.now(), settings.missed_periods) == BATCH

    async def in_time(do: Callable[[], Awaitable[bool]]) -> bool:
        if settings.sandbox:
            await follow(engine)
        return await do()

    due = dict.fromkeys(JOBS, monotonic())
    try:
        await require_current_schema(engine)
        _log.info("the worker is running")
        async with open_sandbox(), asyncio.TaskGroup() as loops:
            loops.create_task(_repeat("a step of a stream", lambda: in_time(step_streams), stop))
            loops.create_task(_repeat("closing periods", lambda: in_time(close_periods), stop))
            loops.create_task(_repeat("deliveries", lambda: in_time(deliverer.deliver_due), stop))
            while not stop.is_set() and not (stop_with_parent and os.getppid() != parent):
                for name, job in JOBS.items():
                    if due[name] <= monotonic() and not stop.is_set():
                        due[name] = monotonic() + job.every_seconds
                        await _run(name, job, engine, secrets)
                await _wait(stop, TICK_SECONDS)
            stop.set()
    finally:
        await deliverer.close()
        await services.http.close()
        await engine.dispose()


async def _run(name: str, job: Job, engine: AsyncEngine, secrets: Secrets) -> None:
    try:
        async with engine.begin() as connection:
            result = await job.run(connection, secrets, job.read_clock())
    except Exception:  # noqa: BLE001 - one job must not stop the others
        _log.exception("the job failed: %s", name)
        return
    if result:
        _log.info("the job did something: %s", name, extra={"fields": {"result": result}})


async def _repeat(what: str, do: Callable[[], Awaitable[bool]], stop: asyncio.Event) -> None:
    """Again at once as long as there is more to do; what is under way is finished before the worker stops."""
    while not stop.is_set():
        try:
            more = await do()
        except Exception:  # noqa: BLE001 - what fails is tried again, and must not stop the others
            _log.exception("%s failed", what)
            more = False
        if not more:
            await _wait(stop, IDLE_SECONDS)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
