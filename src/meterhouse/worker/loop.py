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
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock
from meterhouse.access.secrets import Secrets, open_secrets
from meterhouse.database import make_engine, require_current_schema
from meterhouse.settings import Settings, SettingsError
from meterhouse.streams.function import Services
from meterhouse.streams.outbound import Outbound
from meterhouse.streams.run import run_due_step
from meterhouse.streams.scripts import open_sandbox
from meterhouse.worker.jobs import JOBS, Job

_log = logging.getLogger(__name__)

MAX_MEMORY_BYTES = 4 * 1024**3
"""A step that wants more fails, instead of taking it away from everything else on the machine. Linux keeps it."""

TICK_SECONDS = 1.0
IDLE_SECONDS = 0.2

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

    def end() -> None:
        stop.set()
        exit_anyway = threading.Timer(EXIT_SECONDS, os._exit, (1,))
        exit_anyway.daemon = True
        exit_anyway.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force, or it cannot be set here
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    parent = os.getppid()
    engine = make_engine(settings.database_url, pool_size=STEPPERS + 2)
    secrets = open_secrets(settings)
    flush_every = timedelta(seconds=settings.flush_seconds)
    services = Services(Outbound(settings.http_hosts), secrets.fernet, flush_every=flush_every)
    due = dict.fromkeys(JOBS, monotonic())
    try:
        await require_current_schema(engine)
        # What lives as long as the process needs no look by the collector of garbage, nor does all that a slice makes.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        _log.info("the worker is running")
        lookout = _Lookout()
        stepping = [asyncio.create_task(_step_streams(engine, services, stop, lookout)) for _ in range(STEPPERS)]
        while not stop.is_set() and not (stop_with_parent and os.getppid() != parent):
            for name, job in JOBS.items():
                if due[name] <= monotonic() and not stop.is_set():
                    due[name] = monotonic() + job.every_seconds
                    await _run(name, job, engine, secrets)
            await _wait(stop, TICK_SECONDS)
        end()
        await _end(stepping)
    finally:
        await services.http.close()
        await engine.dispose()


async def _run(name: str, job: Job, engine: AsyncEngine, secrets: Secrets) -> None:
    try:
        async with engine.begin() as connection:
            result = await job.run(connection, secrets, clock.now())
    except Exception:  # noqa: BLE001 - one job must not stop the others
        _log.exception("the job failed: %s", name)
        return
    if result:
        _log.info("the job did something: %s", name, extra={"fields": {"result": result}})


@dataclass(slots=True)
class _Lookout:
    """When some stepper looks for a due run again: those that are idle take turns instead of looking all at once."""

    due: float = 0


async def _step_streams(engine: AsyncEngine, services: Services, stop: asyncio.Event, lookout: _Lookout) -> None:
    """Step after step as long as some run is due."""
    async with open_sandbox():
        while not stop.is_set():
            if (pause := lookout.due - monotonic()) > 0:
                await _wait(stop, pause)
                continue
            lookout.due = monotonic() + IDLE_SECONDS
            try:
                if await run_due_step(engine, services):
                    lookout.due = 0
            except Exception:  # noqa: BLE001 - one stream must not stop the others
                _log.exception("a step of a stream failed")


async def _end(stepping: Collection[asyncio.Task[None]]) -> None:
    """A step that is cancelled leaves nothing, whatever it has called meanwhile; another worker does it again."""
    _, late = await asyncio.wait(stepping, timeout=STOP_SECONDS)
    for task in late:
        _log.warning("a step of a stream was cancelled: it is done again later")
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
