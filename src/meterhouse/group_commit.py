"""Group commit: what arrives together goes into one statement, and each caller is answered after its commit.

"Whenever the writer is free" makes the batches: one commit is under way, and all that arrives meanwhile is the next.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from prometheus_client import Gauge, Histogram
from psycopg import AsyncConnection, DataError, Error, InterfaceError, OperationalError
from psycopg.errors import (
    DeadlockDetected,
    LockNotAvailable,
    ProgramLimitExceeded,
    QueryCanceled,
    SerializationFailure,
    StatementTooComplex,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse.errors import MeterhouseError, UnavailableError

_log = logging.getLogger(__name__)

RETRY_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)

# The database refuses the content itself: trying again would not help, but a neighbour's may be fine.
_REFUSED = (DataError, ProgramLimitExceeded, StatementTooComplex)
_PASSING = (OperationalError, InterfaceError, DeadlockDetected, SerializationFailure, SQLAlchemyError, OSError)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Measure:
    """How much is written at once and how much may wait, in a unit of the writer's own (events, bytes)."""

    noun: str
    """What is written, as messages call it."""
    max_batch: int
    max_waiting: int
    waiting: Gauge
    batch: Histogram


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item, Result]):
    item: Item
    size: int
    now: datetime
    answer: asyncio.Future[Result]


class GroupCommit(ABC, Generic[Item, Result]):
    """One per process and table. `run` is its task; `submit` waits for the commit."""

    def __init__(self, engine: AsyncEngine, measure: Measure) -> None:
        self._engine = engine
        self._measure = measure
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._waiting_size = 0
        self._wake = asyncio.Event()
        self._connection: AsyncConnection | None = None
        self._closing = False

    @abstractmethod
    async def store(self, connection: AsyncConnection, items: Sequence[Item]) -> Sequence[Result]:
        """Stores all in one commit, or raises and stores none; one result for each item, in their order.

        The connection commits each statement. A call is repeated with the same items when its answer was lost, and
        must then recognise what the first one stored.
        """

    @abstractmethod
    def refused(self, reason: str) -> MeterhouseError:
        """What the sender of an item is told that the database cannot keep."""

    @property
    def waiting_size(self) -> int:
        """What is queued or under way."""
        return self._waiting_size

    def lag_seconds(self, now: datetime) -> float:
        """How long the oldest that is still queued has waited."""
        return (now - self._queue[0].now).total_seconds() if self._queue else 0.0

    async def submit(self, item: Item, size: int, now: datetime) -> Result:
        """Stores the item, or raises and does not."""
        if self._waiting_size + size > self._measure.max_waiting or self._closing:
            raise UnavailableError(
                f"too many {self._measure.noun} wait for the database: try again in a moment",
                headers={"Retry-After": "1"},
            )
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, size, now, answer))
        self._waiting_size += size
        self._wake.set()
        return await answer

    async def run(self) -> None:
        """Commits what waits, as soon as the last commit is done, until closed and empty."""
        while True:
            if not self._queue:
                if self._closing:
                    break
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._take_batch()
            await self._commit(batch)
            self._waiting_size -= sum(waiting.size for waiting in batch)
            self._measure.waiting.set(self._waiting_size)
        await self._disconnect()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def _take_batch(self) -> list[_Waiting[Item, Result]]:
        batch = [self._queue.popleft()]
        size = batch[0].size
        while self._queue and size + self._queue[0].size <= self._measure.max_batch:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        self._measure.batch.observe(size)
        return batch

    async def _commit(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._store_with_retries([waiting.item for waiting in batch])
        except _REFUSED as error:
            if len(batch) == 1:
                _answer(batch[0], self.refused(_reason(error)))
                return
            for waiting in batch:
                await self._commit([waiting])
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be answered
            _log.exception("a commit of %d requests failed", len(batch))
            unavailable = UnavailableError("the database is unavailable: send it again", headers={"Retry-After": "1"})
            for waiting in batch:
                _answer(waiting, unavailable if isinstance(error, _PASSING) else error)
            return
        for waiting, result in zip(batch, results, strict=True):
            _answer(waiting, result)

    async def _store_with_retries(self, items: list[Item]) -> Sequence[Result]:
        for pause in RETRY_SECONDS:
            try:
                return await self.store(await self._connected(), items)
            except (*_PASSING, QueryCanceled, LockNotAvailable) as error:
                if isinstance(error, _REFUSED):
                    raise
                _log.warning("a commit is tried again in %s s: %s", pause, _reason(error))
                await self._disconnect()
                await asyncio.sleep(pause)
        return await self.store(await self._connected(), items)

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            raw = await self._engine.raw_connection()
            driver: AsyncConnection = raw.driver_connection  # type: ignore[assignment]
            # It stays with the writer for good: the pool may open another in its place.
            raw.detach()
            await driver.rollback()
            await driver.set_autocommit(True)
            self._connection = driver
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                await connection.close()
            except Error:
                _log.debug("closing a broken connection failed", exc_info=True)


def _answer(waiting: _Waiting[Item, Result], result: Result | Exception) -> None:
    if waiting.answer.done():  # the client went away; what it sent is stored all the same
        return
    if isinstance(result, Exception):
        waiting.answer.set_exception(result)
    else:
        waiting.answer.set_result(result)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]
