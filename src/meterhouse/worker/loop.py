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
from meterhouse.worker.jobs import JOBS, Job

_log = logging.getLogger(__name__)

TICK_SECONDS = 1.0


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
    due = dict.fromkeys(JOBS, monotonic())
    try:
        await require_current_schema(engine)
        _log.info("the worker is running")
        while not stop.is_set() and not (stop_with_parent and os.getppid() != parent):
            for name, job in JOBS.items():
                if due[name] <= monotonic() and not stop.is_set():
                    due[name] = monotonic() + job.every_seconds
                    await _run(name, job, engine, secrets)
            await _wait(stop)
    finally:
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


async def _wait(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(TICK_SECONDS):
            await stop.wait()
    except TimeoutError:
        return
