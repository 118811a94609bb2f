"""Webhooks, and which of them a metered record goes to: SQL. Every function takes the tenant."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Result, RowMapping, and_, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import Page
from meterhouse.tables import accounts, webhooks

MAX_WEBHOOKS = 10

_c = webhooks.c
_URL_TAKEN = "the account has a webhook with this url"


def _one(account_id: UUID, webhook_id: UUID) -> ColumnElement[bool]:
    return and_(_c.account_id == account_id, _c.id == webhook_id)


async def lock_account(connection: AsyncConnection, account_id: UUID) -> None:
    """Until the end of the transaction, creates of one account wait for one another, so that they are counted."""
    locked = select(accounts.c.account_id).where(accounts.c.account_id == account_id).with_for_update(key_share=True)
    await connection.execute(locked)


async def create_webhook(
    connection: AsyncConnection, account_id: UUID, values: Mapping[str, Any], now: datetime
) -> RowMapping:
    """In an account that is locked. Raises ConflictError for a URL that is taken and for one webhook too many."""
    counted = select(func.count()).select_from(webhooks).where(_c.account_id == account_id)
    count = (await connection.execute(counted)).scalar_one()
    new = {"account_id": account_id, "id": uuid4(), "created_at": now, "updated_at": now} | dict(values)
    statement = insert(webhooks).values(new).on_conflict_do_nothing().returning(webhooks)
    created: Result[Any] = await connection.execute(statement)
    row = created.mappings().first()
    if row is None:
        raise ConflictError(_URL_TAKEN)
    if count >= MAX_WEBHOOKS:
        raise ConflictError(f"the account has {MAX_WEBHOOKS} webhooks, which is the most it may have")
    return row


async def list_webhooks(connection: AsyncConnection, account_id: UUID, page: Page) -> Sequence[RowMapping]:
    """The oldest first."""
    statement = select(webhooks).where(_c.account_id == account_id).order_by(_c.created_at, _c.id)
    return (await connection.execute(statement.limit(page.limit).offset(page.skip))).mappings().all()


async def find_webhook(connection: AsyncConnection, account_id: UUID, webhook_id: UUID) -> RowMapping | None:
    found: Result[Any] = await connection.execute(select(webhooks).where(_one(account_id, webhook_id)))
    return found.mappings().first()


async def lock_webhook(connection: AsyncConnection, account_id: UUID, webhook_id: UUID) -> RowMapping | None:
    """As it is until this transaction ends."""
    found: Result[Any] = await connection.execute(
        select(webhooks).where(_one(account_id, webhook_id)).with_for_update()
    )
    return found.mappings().first()


async def lock_webhook_at(connection: AsyncConnection, account_id: UUID, url: str) -> RowMapping | None:
    statement = select(webhooks).where(_c.account_id == account_id, _c.url == url).with_for_update()
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def update_webhook(
    connection: AsyncConnection, account_id: UUID, webhook_id: UUID, values: Mapping[str, Any]
) -> RowMapping:
    """Of one that this transaction has locked. Raises ConflictError for a URL that is taken."""
    statement = update(webhooks).where(_one(account_id, webhook_id)).values(dict(values)).returning(webhooks)
    try:
        updated: Result[Any] = await connection.execute(statement)
    except IntegrityError as error:  # the URL is the only key that changes
        raise ConflictError(_URL_TAKEN) from error
    return updated.mappings().one()


async def delete_webhook(connection: AsyncConnection, account_id: UUID, webhook_id: UUID) -> int:
    """With what was still to be delivered to it. How many were deleted."""
    return (await connection.execute(delete(webhooks).where(_one(account_id, webhook_id)))).rowcount


# The webhooks are locked against deletion, which would otherwise make the whole transaction fail. Of several records
# of one meter only the first is due; the others wait for its end.
_ADD_DELIVERIES = text(
    """
    WITH wanted AS (
        SELECT r.account_id, r.record_no, r.meter_id, w.id AS webhook_id
        FROM metered_records AS r JOIN webhooks AS w
            ON w.account_id = r.account_id AND w.status = 'ACTIVE' AND r.kind = ANY (w.types)
            AND (w.meter_keys IS NULL OR r.meter_key = ANY (w.meter_keys))
        WHERE r.account_id = :account_id AND r.record_no BETWEEN :first AND :last
        FOR KEY SHARE OF w
    )
    INSERT INTO deliveries
        (account_id, message_id, lane_id, webhook_id, record_no, order_key, status, attempts, created_at,
         next_attempt_at)
    SELECT account_id, 'msg_' || replace(CAST(gen_random_uuid() AS text), '-', ''), webhook_id, webhook_id, record_no,
        CAST(meter_id AS text), 'pending', 0, CAST(:now AS timestamptz),
        CASE WHEN row_number() OVER (PARTITION BY webhook_id, meter_id ORDER BY record_no) = 1
            THEN CAST(:now AS timestamptz) END
    FROM wanted ORDER BY record_no
    """
)


async def add_deliveries(
    connection: AsyncConnection, account_id: UUID, numbers: tuple[int, int], now: datetime
) -> None:
    """Of the metered records with these numbers, first and last, to every webhook that wants them."""
    values = {"account_id": account_id, "first": numbers[0], "last": numbers[1], "now": now}
    await connection.execute(_ADD_DELIVERIES, values)
