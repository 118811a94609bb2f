"""Buckets, meters, customers and kept events: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Result,
    Row,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from ulid import ULID

from meterhouse.errors import ConflictError
from meterhouse.tables import accounts, bucket_meters, buckets, customer_subjects, customers, event_conflicts, events
from meterhouse.wire import Slice

if TYPE_CHECKING:
    from meterhouse.buckets.scope import Scope


def _inside(table: Table, scope: "Scope") -> ColumnElement[bool]:
    return and_(table.c.account_id == scope.account_id, table.c.bucket_no == scope.bucket_no)


def _owner(scope: "Scope") -> dict[str, Any]:
    return {"account_id": scope.account_id, "bucket_no": scope.bucket_no}


# --- buckets -----------------------------------------------------------------------------------------------------


async def find_bucket(
    connection: AsyncConnection, account_id: UUID, bucket_no: int | None, bucket_id: str | None
) -> Row[Any] | None:
    """The live bucket by id, within the one that the key opens if it opens just one; the oldest if none is named."""
    statement = select(buckets).where(buckets.c.account_id == account_id, buckets.c.deleted_at.is_(None))
    if bucket_no is not None:
        statement = statement.where(buckets.c.bucket_no == bucket_no)
    if bucket_id is not None:
        statement = statement.where(buckets.c.id == bucket_id)
    return (await connection.execute(statement.order_by(buckets.c.bucket_no).limit(1))).first()


def _visible_buckets(account_id: UUID, bucket_no: int | None) -> Select[Any]:
    statement = (
        select(buckets, accounts.c.name.label("account_name"))
        .join(accounts, accounts.c.account_id == buckets.c.account_id)
        .where(buckets.c.account_id == account_id, buckets.c.deleted_at.is_(None))
    )
    return statement if bucket_no is None else statement.where(buckets.c.bucket_no == bucket_no)


async def list_buckets(
    connection: AsyncConnection, account_id: UUID, bucket_no: int | None, part: Slice
) -> tuple[Sequence[RowMapping], int]:
    visible = _visible_buckets(account_id, bucket_no)
    page = visible.order_by(buckets.c.bucket_no).limit(part.limit).offset(part.offset)
    total = (await connection.execute(select(func.count()).select_from(visible.subquery()))).scalar_one()
    return (await connection.execute(page)).mappings().all(), total


async def read_bucket(
    connection: AsyncConnection, account_id: UUID, bucket_no: int | None, bucket_id: str
) -> RowMapping | None:
    statement = _visible_buckets(account_id, bucket_no).where(buckets.c.id == bucket_id)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


# --- meters ------------------------------------------------------------------------------------------------------

METER_ORDER: Mapping[str, Any] = {
    "key": bucket_meters.c.slug,
    "name": bucket_meters.c.name,
    "aggregation": bucket_meters.c.aggregation,
    "createdAt": bucket_meters.c.created_at,
    "updatedAt": bucket_meters.c.updated_at,
}


async def list_meters(
    connection: AsyncConnection, scope: "Scope", order: ColumnElement[Any], part: Slice, *, deleted: bool
) -> tuple[Sequence[RowMapping], int]:
    """One page and how many there are in all."""
    condition = _inside(bucket_meters, scope)
    if not deleted:
        condition = and_(condition, bucket_meters.c.deleted_at.is_(None))
    page = select(bucket_meters).where(condition).order_by(order, bucket_meters.c.id)
    total = select(func.count()).select_from(bucket_meters).where(condition)
    rows = await connection.execute(page.limit(part.limit).offset(part.offset))
    return rows.mappings().all(), (await connection.execute(total)).scalar_one()


async def find_meter(connection: AsyncConnection, scope: "Scope", id_or_slug: str) -> RowMapping | None:
    """By id, deleted or not, or by the slug of a live one (reference: metering 2.1)."""
    by_slug = and_(bucket_meters.c.slug == id_or_slug, bucket_meters.c.deleted_at.is_(None))
    named = or_(bucket_meters.c.id == id_or_slug.upper(), by_slug)
    statement = select(bucket_meters).where(_inside(bucket_meters, scope), named)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def meters_of_types(connection: AsyncConnection, scope: "Scope", types: set[str]) -> Sequence[RowMapping]:
    statement = (
        select(bucket_meters)
        .where(_inside(bucket_meters, scope), bucket_meters.c.deleted_at.is_(None))
        .where(bucket_meters.c.event_type.in_(types))
        .order_by(bucket_meters.c.created_at, bucket_meters.c.id)
    )
    return (await connection.execute(statement)).mappings().all()


async def create_meter(connection: AsyncConnection, scope: "Scope", values: dict[str, Any]) -> RowMapping:
    statement = insert(bucket_meters).values(_owner(scope) | {"id": str(ULID())} | values).returning(bucket_meters)
    try:
        found: Result[Any] = await connection.execute(statement)
    except IntegrityError as error:
        _raise_if(error, "bucket_meters_live_slug_key", "meter with the same slug already exists")
        raise
    return found.mappings().one()


async def update_meter(
    connection: AsyncConnection, scope: "Scope", meter_id: str, values: dict[str, Any]
) -> RowMapping | None:
    """None when it was deleted meanwhile."""
    statement = (
        update(bucket_meters)
        .where(_inside(bucket_meters, scope), bucket_meters.c.id == meter_id, bucket_meters.c.deleted_at.is_(None))
        .values(values)
        .returning(bucket_meters)
    )
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


# --- customers ---------------------------------------------------------------------------------------------------


async def list_customers(
    connection: AsyncConnection, scope: "Scope", filters: Mapping[str, str], part: Slice, *, deleted: bool
) -> tuple[Sequence[RowMapping], int]:
    """`filters`: key, name, primaryEmail by substring, subject exactly; one page and how many there are in all."""
    c = customers.c
    conditions = [_inside(customers, scope)]
    if not deleted:
        conditions.append(c.deleted_at.is_(None))
    for column, name in ((c.key, "key"), (c.name, "name"), (c.primary_email, "primaryEmail")):
        if name in filters:
            conditions.append(column.icontains(filters[name], autoescape=True))
    if "subject" in filters:
        conditions.append(c.subject_keys.contains([filters["subject"]]))
    page = select(customers).where(*conditions).order_by(c.created_at, c.id)
    total = select(func.count()).select_from(customers).where(*conditions)
    rows = await connection.execute(page.limit(part.limit).offset(part.offset))
    return rows.mappings().all(), (await connection.execute(total)).scalar_one()


async def find_customer(connection: AsyncConnection, scope: "Scope", id_or_key: str) -> RowMapping | None:
    """By id, deleted or not, or by the key of a live one."""
    by_key = and_(customers.c.key == id_or_key, customers.c.deleted_at.is_(None))
    statement = (
        select(customers)
        .where(_inside(customers, scope), or_(customers.c.id == id_or_key, by_key))
        .order_by(customers.c.id != id_or_key)
    )
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def existing_customers(connection: AsyncConnection, scope: "Scope", ids: Sequence[str]) -> set[str]:
    statement = select(customers.c.id).where(
        _inside(customers, scope), customers.c.id.in_(ids), customers.c.deleted_at.is_(None)
    )
    return set((await connection.execute(statement)).scalars())


async def customers_of_subjects(connection: AsyncConnection, scope: "Scope", subjects: set[str]) -> dict[str, str]:
    """Subject → customer id, for those subjects that have one."""
    c = customer_subjects.c
    statement = select(c.subject, c.customer_id).where(_inside(customer_subjects, scope), c.subject.in_(subjects))
    return {row.subject: row.customer_id for row in await connection.execute(statement)}


async def create_customer(connection: AsyncConnection, scope: "Scope", values: dict[str, Any]) -> RowMapping:
    statement = insert(customers).values(_owner(scope) | {"id": str(ULID())} | values).returning(customers)
    found: Result[Any] = await connection.execute(statement)
    row = found.mappings().one()
    await _own_subjects(connection, scope, row)
    return row


async def update_customer(
    connection: AsyncConnection, scope: "Scope", customer_id: str, values: dict[str, Any]
) -> RowMapping | None:
    """None when it was deleted meanwhile. A deleted customer owns no subjects any more."""
    statement = (
        update(customers)
        .where(_inside(customers, scope), customers.c.id == customer_id, customers.c.deleted_at.is_(None))
        .values(values)
        .returning(customers)
    )
    found: Result[Any] = await connection.execute(statement)
    row = found.mappings().first()
    if row is not None:
        owned = and_(_inside(customer_subjects, scope), customer_subjects.c.customer_id == customer_id)
        await connection.execute(delete(customer_subjects).where(owned))
        if row["deleted_at"] is None:
            await _own_subjects(connection, scope, row)
    return row


async def _own_subjects(connection: AsyncConnection, scope: "Scope", customer: RowMapping) -> None:
    keys = {*customer["subject_keys"], *([customer["key"]] if customer["key"] else [])}
    owned = [_owner(scope) | {"subject": key, "customer_id": customer["id"]} for key in sorted(keys)]
    if not owned:
        return
    try:
        await connection.execute(insert(customer_subjects), owned)
    except IntegrityError as error:
        _raise_if(
            error, "customer_subjects_pkey", "a customer with one of these subject keys, or this key, already exists"
        )
        raise


def _raise_if(error: IntegrityError, constraint: str, message: str) -> None:
    """Translates the violation of one named constraint into a ConflictError."""
    if getattr(getattr(error.orig, "diag", None), "constraint_name", None) == constraint:
        raise ConflictError(message) from error


# --- kept events -------------------------------------------------------------------------------------------------


def _listed(table: Table, *, counted: bool) -> Select[Any]:
    names = ("source", "id", "seq", "type", "subject", "time", "ingested_at", "data", "attributes")
    return select(*(table.c[name] for name in names), literal(counted).label("counted"))


async def list_events(connection: AsyncConnection, scope: "Scope", condition: Any, limit: int) -> Sequence[RowMapping]:
    """Newest event time first, then latest arrival: counted events and the conflicts that were kept beside them.

    `condition` makes the WHERE for one table from its columns.
    """
    parts = []
    for table in (events, event_conflicts):
        part = _listed(table, counted=table is events).where(_inside(table, scope), condition(table.c))
        parts.append(select(part.order_by(table.c.time.desc(), table.c.seq.desc()).limit(limit).subquery()))
    both = union_all(*parts).subquery()
    statement = select(both).order_by(both.c.time.desc(), both.c.seq.desc()).limit(limit)
    return (await connection.execute(statement)).mappings().all()
