"""Deliveries as workers take and settle them: SQL over all accounts.

Of those with the same order key the first pending one is the head. The head's next_attempt_at is never null once all
is committed: whoever makes a delivery no longer pending sets it on the next (`wake`), and a delivery is set to null
(`put_behind`) only while one before it is locked, so that the one's end comes later and finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

Lane = tuple[UUID, UUID]
"""Account and lane id."""

Key = tuple[UUID, UUID, str]
"""Account, webhook and order key."""


@dataclass(frozen=True, slots=True)
class Found:
    """One that is due, and locked."""

    account_id: UUID
    lane_id: UUID
    delivery_no: int

    @property
    def lane(self) -> Lane:
        return self.account_id, self.lane_id


# From lane to lane by one look into the index each, so that however much waits for one of them costs the others
# nothing.
_FIND_DUE = text(
    """
    WITH RECURSIVE lanes AS (
        (SELECT d.account_id, d.lane_id, d.next_attempt_at FROM deliveries AS d
         WHERE d.status = 'pending' AND d.next_attempt_at IS NOT NULL
            AND (d.account_id, d.lane_id) > (:account_id, :lane_id)
         ORDER BY d.account_id, d.lane_id, d.next_attempt_at LIMIT 1)
        UNION ALL
        SELECT follower.account_id, follower.lane_id, follower.next_attempt_at FROM lanes CROSS JOIN LATERAL (
            SELECT d.account_id, d.lane_id, d.next_attempt_at FROM deliveries AS d
            WHERE d.status = 'pending' AND d.next_attempt_at IS NOT NULL
                AND (d.account_id, d.lane_id) > (lanes.account_id, lanes.lane_id)
            ORDER BY d.account_id, d.lane_id, d.next_attempt_at LIMIT 1) AS follower
    ), chosen AS (
        SELECT l.account_id, l.lane_id, coalesce(known.room, :room) AS room
        FROM lanes AS l
        LEFT JOIN json_to_recordset(CAST(:rooms AS json)) AS known (account_id uuid, lane_id uuid, room bigint)
            ON known.account_id = l.account_id AND known.lane_id = l.lane_id
        LEFT JOIN webhooks AS w ON w.account_id = l.account_id AND w.id = l.lane_id
        WHERE l.next_attempt_at <= :now AND coalesce(known.room, :room) > 0 AND w.status IS DISTINCT FROM 'DISABLED'
        ORDER BY l.account_id, l.lane_id LIMIT :lanes
    )
    SELECT found.account_id, found.lane_id, found.delivery_no FROM chosen CROSS JOIN LATERAL (
        SELECT d.account_id, d.lane_id, d.delivery_no FROM deliveries AS d
        WHERE d.account_id = chosen.account_id AND d.lane_id = chosen.lane_id AND d.status = 'pending'
            AND d.next_attempt_at <= :now AND (d.leased_until IS NULL OR d.leased_until <= :real_now)
        ORDER BY d.next_attempt_at LIMIT chosen.room FOR UPDATE SKIP LOCKED) AS found
    ORDER BY found.account_id, found.lane_id
    """
)


@dataclass(frozen=True, slots=True)
class Search:
    """In how many lanes to look, and behind which. `rooms`: how many each may have more; `room`: all others."""

    lanes: int
    after: Lane
    rooms: dict[Lane, int]
    room: int


async def find_due(connection: AsyncConnection, search: Search, now: datetime, real_now: datetime) -> list[Found]:
    """Some of each lane, locked to the end of the transaction; by lane, each lane's longest due first."""
    rooms = [{"account_id": lane[0], "lane_id": lane[1], "room": room} for lane, room in search.rooms.items()]
    values = {"account_id": search.after[0], "lane_id": search.after[1], "room": search.room, "lanes": search.lanes}
    values |= {"rooms": msgspec.json.encode(rooms).decode(), "now": now, "real_now": real_now}
    return [Found(*row) for row in await connection.execute(_FIND_DUE, values)]


_READ = text(
    """
    SELECT d.account_id, d.lane_id, d.delivery_no, d.message_id, d.attempts, d.first_attempt_at, d.webhook_id,
        d.order_key, coalesce(w.url, d.url) AS url, d.body, r.kind, r.recorded_at, CAST(r.record AS text) AS record,
        coalesce(w.encrypted_secret, s.encrypted) AS encrypted_secret, w.encrypted_previous_secret,
        w.previous_secret_expires_at,
        EXISTS (SELECT FROM deliveries AS before WHERE before.account_id = d.account_id
            AND before.webhook_id = d.webhook_id AND before.order_key = d.order_key AND before.status = 'pending'
            AND before.delivery_no < d.delivery_no) AS is_behind
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:numbers AS bigint[])) AS wanted (account_id, delivery_no)
    JOIN deliveries AS d ON d.account_id = wanted.account_id AND d.delivery_no = wanted.delivery_no
    LEFT JOIN webhooks AS w ON w.account_id = d.account_id AND w.id = d.webhook_id
    LEFT JOIN metered_records AS r ON r.account_id = d.account_id AND r.record_no = d.record_no
    LEFT JOIN account_secrets AS s ON s.account_id = d.account_id AND s.id = d.secret_id AND s.type = 'signing'
    """
)


async def read_found(connection: AsyncConnection, found: Sequence[Found]) -> Sequence[RowMapping]:
    """With all that a call needs, and whether another of the order key comes first.

    A statement of its own, since only then it sees what was done to those before while these were being locked.
    """
    return (await connection.execute(_READ, _numbers(found))).mappings().all()


_PUT_BEHIND = text(
    """
    UPDATE deliveries AS d SET next_attempt_at = NULL
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:numbers AS bigint[]), CAST(:webhook_ids AS uuid[]),
        CAST(:order_keys AS text[])) AS given (account_id, delivery_no, webhook_id, order_key)
    WHERE d.account_id = given.account_id AND d.delivery_no = given.delivery_no AND EXISTS (
        SELECT FROM (
            SELECT FROM deliveries AS before
            WHERE before.account_id = given.account_id AND before.webhook_id = given.webhook_id
                AND before.order_key = given.order_key AND before.status = 'pending'
                AND before.delivery_no < given.delivery_no
            ORDER BY before.delivery_no DESC LIMIT 1 FOR SHARE SKIP LOCKED) AS locked)
    """
)


async def put_behind(connection: AsyncConnection, behind: Sequence[RowMapping]) -> int:
    """Not due until those before them have ended. Where one is just ending they stay due. How many were put there."""
    if not behind:
        return 0
    names = {"account_ids": "account_id", "numbers": "delivery_no"}
    names |= {"webhook_ids": "webhook_id", "order_keys": "order_key"}
    values = {name: [row[column] for row in behind] for name, column in names.items()}
    return (await connection.execute(_PUT_BEHIND, values)).rowcount


_LEASE = text(
    """
    UPDATE deliveries AS d SET leased_until = :until, attempts = d.attempts + 1,
        first_attempt_at = coalesce(d.first_attempt_at, :now)
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:numbers AS bigint[])) AS given (account_id, delivery_no)
    WHERE d.account_id = given.account_id AND d.delivery_no = given.delivery_no
    """
)


async def lease(connection: AsyncConnection, found: Sequence[Found], now: datetime, until: datetime) -> None:
    """Nobody else takes them before `until`, an instant of the machine's clock. Counts an attempt."""
    await connection.execute(_LEASE, _numbers(found) | {"now": now, "until": until})


def _numbers(found: Sequence[Found]) -> dict[str, Any]:
    return {"account_ids": [one.account_id for one in found], "numbers": [one.delivery_no for one in found]}


_DELETE = text(
    """
    DELETE FROM deliveries AS d
    USING unnest(CAST(:account_ids AS uuid[]), CAST(:numbers AS bigint[])) AS given (account_id, delivery_no)
    WHERE d.account_id = given.account_id AND d.delivery_no = given.delivery_no
    RETURNING d.account_id, d.webhook_id, d.order_key
    """
)


async def delete_delivered(connection: AsyncConnection, delivered: Sequence[Found]) -> list[Key]:
    """The order keys that go on."""
    rows = await connection.execute(_DELETE, _numbers(delivered))
    return [tuple(row) for row in rows if row.order_key is not None]


@dataclass(frozen=True, slots=True)
class Failed:
    """`next_attempt_at` None: it is parked. `leased_until` tells whether it is still the worker's own."""

    found: Found
    leased_until: datetime
    next_attempt_at: datetime | None
    error: str


_FAIL = text(
    """
    UPDATE deliveries AS d SET leased_until = NULL, next_attempt_at = f.next_attempt_at, last_error = f.error,
        status = CASE WHEN f.next_attempt_at IS NULL THEN 'parked' ELSE 'pending' END
    FROM json_to_recordset(CAST(:rows AS json)) AS f
        (account_id uuid, delivery_no bigint, leased_until timestamptz, next_attempt_at timestamptz, error text)
    WHERE d.account_id = f.account_id AND d.delivery_no = f.delivery_no AND d.leased_until = f.leased_until
    RETURNING d.account_id, d.webhook_id, d.order_key, d.status
    """
)


async def postpone_failed(connection: AsyncConnection, failed: Sequence[Failed]) -> list[Key]:
    """The order keys that go on, since what was parked no longer holds them up."""
    rows = [
        {
            "account_id": one.found.account_id,
            "delivery_no": one.found.delivery_no,
            "leased_until": one.leased_until,
            "next_attempt_at": one.next_attempt_at,
            "error": one.error,
        }
        for one in failed
    ]
    postponed = await connection.execute(_FAIL, {"rows": msgspec.json.encode(rows).decode()})
    return [(row[0], row[1], row[2]) for row in postponed if row.status == "parked" and row.order_key is not None]


_WAKE = text(
    """
    UPDATE deliveries AS d SET next_attempt_at = :now
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:webhook_ids AS uuid[]), CAST(:order_keys AS text[]))
        AS key (account_id, webhook_id, order_key)
    CROSS JOIN LATERAL (
        SELECT p.delivery_no FROM deliveries AS p
        WHERE p.account_id = key.account_id AND p.webhook_id = key.webhook_id AND p.order_key = key.order_key
            AND p.status = 'pending'
        ORDER BY p.delivery_no LIMIT 1) AS head
    WHERE d.account_id = key.account_id AND d.delivery_no = head.delivery_no AND d.next_attempt_at IS NULL
    """
)


async def wake(connection: AsyncConnection, keys: Sequence[Key], now: datetime) -> None:
    """Whatever is first of these now is due."""
    if keys:
        values = {"account_ids": [key[0] for key in keys], "webhook_ids": [key[1] for key in keys]}
        await connection.execute(_WAKE, values | {"order_keys": [key[2] for key in keys], "now": now})


_DISABLE = text(
    """
    UPDATE webhooks AS w SET status = 'DISABLED', updated_at = :now
    FROM unnest(CAST(:account_ids AS uuid[]), CAST(:webhook_ids AS uuid[])) AS given (account_id, id)
    WHERE w.account_id = given.account_id AND w.id = given.id AND w.status = 'ACTIVE'
    """
)


async def disable(connection: AsyncConnection, lanes: Sequence[Lane], now: datetime) -> None:
    """Those of the lanes that are webhooks: their receivers say that they are gone."""
    if lanes:
        values = {"account_ids": [lane[0] for lane in lanes], "webhook_ids": [lane[1] for lane in lanes]}
        await connection.execute(_DISABLE, values | {"now": now})
