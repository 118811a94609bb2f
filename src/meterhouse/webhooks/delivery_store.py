"""What is still to be delivered, as its owners see it: SQL. Every function takes the tenant.

What workers do with it stands in queue_store.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.paging import Page
from meterhouse.tables import deliveries

_c = deliveries.c

Status = Literal["pending", "parked"]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose deliveries: a webhook's or a stream's."""

    account_id: UUID
    kind: Literal["webhook", "stream"]
    id: UUID

    def conditions(self) -> ColumnElement[bool]:
        column = _c.webhook_id if self.kind == "webhook" else _c.stream_id
        return and_(_c.account_id == self.account_id, column == self.id)


async def list_deliveries(
    connection: AsyncConnection, owner: Owner, status: Status | None, page: Page
) -> Sequence[RowMapping]:
    """The oldest first. A webhook's have increasing numbers of records as well, by which they are found sorted."""
    order = _c.record_no if owner.kind == "webhook" else _c.delivery_no
    statement = select(deliveries).where(owner.conditions()).order_by(order)
    if status is not None:
        statement = statement.where(_c.status == status)
    return (await connection.execute(statement.limit(page.limit).offset(page.skip))).mappings().all()


def _parked(owner: Owner, message_ids: Collection[str] | None) -> ColumnElement[bool]:
    parked = and_(owner.conditions(), _c.status == "parked")
    return parked if message_ids is None else and_(parked, _c.message_id.in_(message_ids))


async def retry_parked(
    connection: AsyncConnection, owner: Owner, message_ids: Collection[str] | None, now: datetime
) -> int:
    """Due at once, and for another day. `message_ids` None: all of them."""
    again = {"status": "pending", "attempts": 0, "first_attempt_at": null(), "next_attempt_at": now}
    return (await connection.execute(update(deliveries).where(_parked(owner, message_ids)).values(again))).rowcount


async def resume(connection: AsyncConnection, owner: Owner, now: datetime) -> None:
    """What waited while the owner was switched off is due at once, and for another day; the order stays."""
    tried = and_(owner.conditions(), _c.status == "pending", _c.next_attempt_at.is_not(None))
    again = {"attempts": 0, "first_attempt_at": null(), "next_attempt_at": now}
    await connection.execute(update(deliveries).where(tried).values(again))


async def delete_parked(connection: AsyncConnection, owner: Owner, message_ids: Collection[str] | None) -> int:
    return (await connection.execute(delete(deliveries).where(_parked(owner, message_ids)))).rowcount


async def any_deliveries(connection: AsyncConnection, owner: Owner) -> bool:
    return (await connection.execute(select(_c.delivery_no).where(owner.conditions()).limit(1))).first() is not None


@dataclass(frozen=True, slots=True)
class Letter:
    """What a writer of a stream sends. `lane_id`: one for all that goes to the same server."""

    url: str
    lane_id: UUID
    body: str


async def add_letters(
    connection: AsyncConnection,
    stream: tuple[UUID, UUID],
    secret_id: UUID,
    letters: Sequence[Letter],
    now: datetime,
) -> None:
    """`stream`: account and stream. They leave when the transaction has committed."""
    account_id, stream_id = stream
    own: dict[str, Any] = {"account_id": account_id, "stream_id": stream_id, "secret_id": secret_id}
    own |= {"status": "pending", "attempts": 0, "created_at": now, "next_attempt_at": now}
    rows = [
        own | {"message_id": f"msg_{uuid4().hex}", "url": one.url, "lane_id": one.lane_id, "body": one.body}
        for one in letters
    ]
    if rows:
        await connection.execute(insert(deliveries), rows)
