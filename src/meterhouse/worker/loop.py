"""The worker's loop: jobs in their rounds until told to stop; one that fails is reported and tried again next round."""

import asyncio
import logging
import os
import signal
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

TICK_SECONDS = 1.0
IDLE_SECONDS = 0.2


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
    engine = make_engine(settings.database_url, pool_size=2)
    secrets = open_secrets(settings)
    services = Services(Outbound(settings.http_hosts), secrets.fernet)
    due = dict.fromkeys(JOBS, monotonic())
    try:
        await require_current_schema(engine)
        _log.info("the worker is running")
        stepping = asyncio.create_task(_step_streams(engine, services, stop))
        while not stop.is_set() and not (stop_with_parent and os.getppid() != parent):
            for name, job in JOBS.items():
                if due[name] <= monotonic() and not stop.is_set():
                    due[name] = monotonic() + job.every_seconds
                    await _run(name, job, engine, secrets)
            await _wait(stop, TICK_SECONDS)
        stop.set()
        await stepping
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


async def _step_streams(engine: AsyncEngine, services: Services, stop: asyncio.Event) -> None:
    """Step after step as long as some run is due; the step that is under way is finished before the worker stops."""
    async with open_sandbox():
        while not stop.is_set():
            try:
                busy = await run_due_step(engine, services)
            except Exception:  # noqa: BLE001 - one stream must not stop the others
                _log.exception("a step of a stream failed")
                busy = False
            if not busy:
                await _wait(stop, IDLE_SECONDS)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
