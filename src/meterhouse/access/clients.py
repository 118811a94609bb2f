"""What a process remembers of the clients that call it, so that a request does not ask the database.

A revocation takes effect within MAX_AGE_SECONDS in every process. While the database is away, what was known stays good
for OUTAGE_AGE_SECONDS.
"""

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse import clock
from meterhouse.access import store
from meterhouse.access.secrets import Secrets
from meterhouse.errors import UnavailableError

_log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 2.0
OUTAGE_AGE_SECONDS = 60.0
_REFRESH_AGE_SECONDS = 1.0  # from here on re-read beside the requests, so that a busy client never waits
_STALE_WAIT_SECONDS = 1.0  # how long a call waits for a fresh answer when it has an older one
_FIRST_WAIT_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_MAX_KNOWN = 10_000
_MAX_UNKNOWN = 1_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling. `bucket_no`: the one bucket that an API key opens; None opens all of the account's."""

    account_id: UUID
    client_id: str
    scopes: frozenset[str]
    bucket_no: int | None


@dataclass(frozen=True, slots=True)
class Client:
    """A live client, as the database last told."""

    caller: Caller
    expires_at: datetime | None
    """When the secret ends that found it: during a rotation."""


_Key = str | tuple[UUID, str]  # an API key, or an application


@dataclass(slots=True)
class _Known:
    client: Client | None
    read_at: float
    """In the event loop's seconds, which no clock change moves."""


_Read = Callable[[], Awaitable[Client | None]]


class ClientCache:
    """Known clients and, apart and fewer, keys that nobody has, so that guessing cannot push out the known."""

    def __init__(self, engine: AsyncEngine, secrets: Secrets) -> None:
        self._engine = engine
        self._secrets = secrets
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._unknown: OrderedDict[_Key, _Known] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[None]] = {}
        self._retry_at = 0.0

    async def by_api_key(self, api_key: str, now: datetime) -> Client | None:
        """None: no live client has this key. Raises UnavailableError."""
        client = await self._get(api_key, lambda: self._read_api_key(api_key))
        expired = client is not None and client.expires_at is not None and client.expires_at <= now
        return None if expired else client

    async def application(self, account_id: UUID, client_id: str) -> Client | None:
        """None: it is not, or no longer, live. Raises UnavailableError."""
        return await self._get((account_id, client_id), lambda: self._read_application(account_id, client_id))

    async def _get(self, key: _Key, read: _Read) -> Client | None:
        now = asyncio.get_running_loop().time()
        known = self._lookup(key)
        age = now - known.read_at if known else math.inf
        if age > (_REFRESH_AGE_SECONDS if known and known.client else MAX_AGE_SECONDS):
            self._start_reading(key, read, now)
        if known and age <= MAX_AGE_SECONDS:
            return known.client
        if reading := self._reading.get(key):
            patience = _STALE_WAIT_SECONDS if age < OUTAGE_AGE_SECONDS else _FIRST_WAIT_SECONDS
            await asyncio.wait([reading], timeout=patience)
            known = self._lookup(key)
        if known is None or now - known.read_at >= OUTAGE_AGE_SECONDS:
            raise UnavailableError("the database cannot be reached; try again", headers={"Retry-After": "1"})
        return known.client

    def _lookup(self, key: _Key) -> _Known | None:
        return self._known.get(key) or self._unknown.get(key)

    def _start_reading(self, key: _Key, read: _Read, now: float) -> None:
        """One read at a time for a key, shared by all that wait, and not ended when one of them goes away."""
        if key not in self._reading and now >= self._retry_at:
            self._reading[key] = asyncio.create_task(self._read_and_keep(key, read))

    async def _read_and_keep(self, key: _Key, read: _Read) -> None:
        try:
            self._keep(key, await read())
        except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
            # Everyone stops asking for a moment: a database that is away must not be queued for by each request.
            self._retry_at = asyncio.get_running_loop().time() + _RETRY_SECONDS
            _log.warning("clients cannot be read: %s", error)
        finally:
            del self._reading[key]

    def _keep(self, key: _Key, client: Client | None) -> None:
        kept, other = (self._known, self._unknown) if client else (self._unknown, self._known)
        other.pop(key, None)
        kept[key] = _Known(client, asyncio.get_running_loop().time())
        kept.move_to_end(key)
        if len(kept) > (_MAX_KNOWN if client else _MAX_UNKNOWN):
            kept.popitem(last=False)

    async def _read_api_key(self, api_key: str) -> Client | None:
        async with self._engine.connect() as connection:
            row = await store.find_live_client_by_key(connection, self._secrets.hash(api_key), clock.real_now())
        return row and Client(_caller(row), row.expires_at)

    async def _read_application(self, account_id: UUID, client_id: str) -> Client | None:
        async with self._engine.connect() as connection:
            row = await store.find_live_application(connection, account_id, client_id)
        return row and Client(_caller(row), None)

    async def close(self) -> None:
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _caller(row: store.AnyRow) -> Caller:
    return Caller(row.account_id, row.client_id, frozenset(row.scopes), row.bucket_no)
