"""Waits until workers have done all that is due at the present instant of the sandbox's clock."""

import asyncio
from datetime import timedelta
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock
from meterhouse.errors import UnavailableError
from meterhouse.sandbox.store import kick_runs, work_left

_LOOK_EVERY_SECONDS = 0.05
_FLUSH_DUE = timedelta(days=1)


async def settle(engine: AsyncEngine, timeout_seconds: float) -> None:
    """Raises UnavailableError, telling what is left, when it takes longer.

    Closed periods go through streams, and what streams send is delivered: in this order, until a round finds nothing.
    A run is asked twice, since what it reads in its last step may be due by time as well.
    """
    ends_at = monotonic() + timeout_seconds
    while True:
        await _until_none(engine, "meters", ends_at)
        for _ in range(2):
            await _until_none(engine, "runs", ends_at)
        await _until_none(engine, "deliveries", ends_at)
        await _until_none(engine, "forgotten records", ends_at)
        now = clock.now()
        async with engine.connect() as connection:
            left = await work_left(connection, now, now - _FLUSH_DUE)
        if not any(left.values()):
            return


async def _until_none(engine: AsyncEngine, kind: str, ends_at: float) -> None:
    """No more work of this kind that was due when this began."""
    since = clock.now()
    while True:
        async with engine.begin() as connection:
            if kind == "runs":
                await kick_runs(connection, since, since - _FLUSH_DUE)
            left = await work_left(connection, since, since)
        if not left[kind]:
            return
        if monotonic() > ends_at:
            listed = ", ".join(f"{count} {name}" for name, count in left.items() if count)
            raise UnavailableError(
                f"not settled in time: still due are {listed}. Is a worker running?", headers={"Retry-After": "1"}
            )
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
