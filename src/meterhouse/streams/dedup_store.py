"""The keys that Deduplicate functions have seen: SQL."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Where keys are compared: one function of one stream."""

    account_id: UUID
    stream_id: UUID
    node_id: str


# The keys come sorted: two steps that claim the same ones wait for each other instead of deadlocking.
_CLAIM = text(
    """
    INSERT INTO stream_dedup_keys (account_id, stream_id, node_id, key_hash, expires_at)
    SELECT :account_id, :stream_id, :node_id, key_hash, :expires_at FROM unnest(:keys) AS key_hash
    ON CONFLICT (account_id, stream_id, node_id, key_hash)
        DO UPDATE SET expires_at = excluded.expires_at WHERE stream_dedup_keys.expires_at <= :now
    RETURNING key_hash
    """
).bindparams(bindparam("keys", type_=ARRAY(LargeBinary)))


async def claim_keys(
    connection: AsyncConnection, space: KeySpace, keys: Collection[bytes], *, now: datetime, expires_at: datetime
) -> set[bytes]:
    """Those of the keys (SHA-256) that were new, or had expired: they are now taken until `expires_at`."""
    values = {
        "account_id": space.account_id,
        "stream_id": space.stream_id,
        "node_id": space.node_id,
        "keys": sorted(keys),
        "now": now,
        "expires_at": expires_at,
    }
    return {bytes(key) for key in (await connection.execute(_CLAIM, values)).scalars()}


_DELETE = text(
    """
    DELETE FROM stream_dedup_keys WHERE (account_id, stream_id, node_id, key_hash) IN (
        SELECT account_id, stream_id, node_id, key_hash FROM stream_dedup_keys
        WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)


async def delete_expired_keys(connection: AsyncConnection, now: datetime, limit: int) -> int:
    """Of all accounts, the oldest first. Returns how many were deleted: fewer than `limit` means none are left."""
    return (await connection.execute(_DELETE, {"now": now, "limit": limit})).rowcount
