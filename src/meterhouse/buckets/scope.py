"""Which bucket a request works on, and by which of the two dialects (reference: metering 8)."""

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from meterhouse.access.clients import Caller
from meterhouse.access.gate import Admitted
from meterhouse.buckets import store
from meterhouse.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Scope:
    """A bucket, found. `seed`: asked through /v3/metering/{bucketId}, where Zuplo's text is the contract."""

    account_id: UUID
    bucket_no: int
    bucket_id: str
    seed: bool


_Key = tuple[UUID, int | None, str | None]


class BucketCache:
    """Live buckets by what callers name them, for so many seconds: a deleted bucket is gone everywhere after that."""

    MAX_AGE_SECONDS = 2.0
    MAX_ENTRIES = 10_000

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._found: OrderedDict[_Key, tuple[float, int, str]] = OrderedDict()

    async def find(self, caller: Caller, named: str | None) -> tuple[int, str]:
        """Number and id. A bucket of another account, or outside the key's one bucket, does not exist."""
        key = (caller.account_id, caller.bucket_no, named)
        found = self._found.get(key)
        if found is None or found[0] < monotonic() - self.MAX_AGE_SECONDS:
            found = await self._look_up(key)
        return found[1], found[2]

    async def _look_up(self, key: _Key) -> tuple[float, int, str]:
        read_at = monotonic()
        async with self._engine.connect() as connection:
            row = await store.find_bucket(connection, *key)
        if row is None:
            raise NotFoundError(
                f"bucket not found: {key[2]}"
                if key[2]
                else "the account has no bucket: create one with POST /v1/metering"
            )
        self._found[key] = (read_at, row.bucket_no, row.id)
        self._found.move_to_end(key)
        if len(self._found) > self.MAX_ENTRIES:
            self._found.popitem(last=False)
        return self._found[key]

    def forget(self) -> None:
        self._found.clear()


async def find_scope(request: Request, caller: Caller) -> Scope:
    """From the path on the seed mount; else from X-Bucket-Id, the API key, or the account's default bucket."""
    in_path: str | None = request.path_params.get("bucketId")
    named = in_path or request.headers.get("x-bucket-id") or None
    cache: BucketCache = request.app.state.buckets
    bucket_no, bucket_id = await cache.find(caller, named)
    return Scope(caller.account_id, bucket_no, bucket_id, seed=in_path is not None)


async def in_bucket(request: Request, caller: Admitted) -> Scope:
    return await find_scope(request, caller)


InBucket = Annotated[Scope, Depends(in_bucket)]
