"""What the worker does in its rounds. Each job is one transaction, and harmless when two workers do it at once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse import clock
from meterhouse.access.secrets import Secrets
from meterhouse.access.signing import ensure_fresh_key, retire_keys
from meterhouse.access.store import delete_expired_secrets
from meterhouse.streams.correction_store import delete_forgotten_records
from meterhouse.streams.dedup_store import delete_expired_keys
from meterhouse.streams.retention_store import delete_consumed, delete_old_log, delete_old_outputs, delete_old_runs

MAX_DELETED = 10_000
MAX_DELETED_OF_INBOX = 50_000
"""In ten seconds: as much as is ever sent in that time."""

MAX_DELETED_RUNS = 100
"""Each may have many lines."""

Run = Callable[[AsyncConnection, Secrets, datetime], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Job:
    every_seconds: int
    run: Run
    read_clock: Callable[[], datetime] = clock.now

    def pause_seconds(self, *, sandbox: bool) -> int:
        """In a sandbox the clock of metering jumps, and what follows it is due sooner than thought."""
        return 1 if sandbox and self.read_clock is clock.now else self.every_seconds


async def _rotate(connection: AsyncConnection, secrets: Secrets, now: datetime) -> object:
    return await ensure_fresh_key(connection, secrets.fernet, now)


async def _retire(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await retire_keys(connection, now)


async def _forget_secrets(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_expired_secrets(connection, now)


async def _forget_keys(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_expired_keys(connection, now, MAX_DELETED)


async def _forget_records(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_forgotten_records(connection, now, MAX_DELETED)


async def _forget_inbox(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_consumed(connection, now, MAX_DELETED_OF_INBOX)


async def _forget_outputs(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_old_outputs(connection, now, MAX_DELETED)


async def _forget_log(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_old_log(connection, now, MAX_DELETED)


async def _forget_runs(connection: AsyncConnection, _: Secrets, now: datetime) -> object:
    return await delete_old_runs(connection, now, MAX_DELETED_RUNS)


# What is only kept for a while follows the machine's clock: a sandbox that jumps a year does not lose its runs.
JOBS: Mapping[str, Job] = {
    "rotate signing key": Job(3600, _rotate, clock.real_now),
    "retire signing keys": Job(600, _retire, clock.real_now),
    "delete expired secrets": Job(600, _forget_secrets, clock.real_now),
    "delete expired deduplication keys": Job(60, _forget_keys),
    "delete forgotten rejected records": Job(60, _forget_records),
    "delete what collectors have kept and streams have read": Job(10, _forget_inbox, clock.real_now),
    "delete old outputs of streams": Job(10, _forget_outputs, clock.real_now),
    "delete old log lines of streams": Job(60, _forget_log, clock.real_now),
    "delete old runs of streams": Job(600, _forget_runs, clock.real_now),
}
