"""Meter types: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import SortedPage, sort_key
from meterhouse.tables import meter_types, meters

_c = meter_types.c

# Counted where it is read: kept in the type's row, it would make all creations of its meters wait for one another.
_number_of_meters: ColumnElement[Any] = (
    select(func.count())
    .where(meters.c.account_id == _c.account_id, meters.c.meter_type_id == _c.id)
    .correlate(meter_types)
    .scalar_subquery()
    .label("number_of_meters")
)
_shown: tuple[Any, ...] = (meter_types, _number_of_meters)

_MESSAGES = {
    "meter_types_account_id_name_key": "a meter type with the same name already exists",
    "meter_types_account_id_external_ref_key": "a meter type with the same externalRef already exists",
    "meters_account_id_meter_type_id_fkey": "the meter type has meters: delete them first",
}

# Texts are sorted byte by byte, whatever the database's own language is.
SORT_FIELDS: Mapping[str, ColumnElement[Any]] = {
    "accountId": _c.account_id,
    "activeFrom": _c.active_from,
    "activeTo": _c.active_to,
    "aggregation": _c.aggregation.collate("C"),
    "capacity": _c.capacity,
    "category": _c.category.collate("C"),
    "createdAt": _c.created_at,
    "description": _c.description.collate("C"),
    "externalRef": _c.external_ref.collate("C"),
    "id": _c.id,
    "name": _c.name.collate("C"),
    "numberOfMeters": _number_of_meters,
    "timezone": _c.timezone.collate("C"),
    "unit": _c.unit.collate("C"),
    "updatedAt": _c.updated_at,
}


def violated(error: IntegrityError) -> str | None:
    """The name of the constraint."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name


def _raise_known(error: IntegrityError) -> None:
    message = _MESSAGES.get(violated(error) or "")
    if message is not None:
        raise ConflictError(message) from error


def _one(account_id: UUID, meter_type_id: UUID) -> ColumnElement[bool]:
    return and_(_c.account_id == account_id, _c.id == meter_type_id)


async def list_meter_types(
    connection: AsyncConnection, account_id: UUID, page: SortedPage, name: str
) -> Sequence[RowMapping]:
    """Those whose name contains `name` in any case. Without a wish for another order, the exact name comes first:
    clients look a type up by its name and take the first answer."""
    statement = select(*_shown).where(_c.account_id == account_id)
    if name:
        statement = statement.where(_c.name.icontains(name, autoescape=True))
        if page.sort_by is None and page.sort_order == "ASC":
            statement = statement.order_by((_c.name == name).desc())
    statement = statement.order_by(sort_key(page, SORT_FIELDS, "name"), _c.id)
    return (await connection.execute(statement.limit(page.limit).offset(page.skip))).mappings().all()


async def find_meter_type(connection: AsyncConnection, account_id: UUID, meter_type_id: UUID) -> RowMapping | None:
    statement = select(*_shown).where(_one(account_id, meter_type_id))
    return (await connection.execute(statement)).mappings().first()


async def find_by_external_ref(connection: AsyncConnection, account_id: UUID, external_ref: str) -> RowMapping | None:
    statement = select(meter_types).where(_c.account_id == account_id, _c.external_ref == external_ref)
    return (await connection.execute(statement)).mappings().first()


async def lock_meter_type(connection: AsyncConnection, account_id: UUID, meter_type_id: UUID) -> RowMapping | None:
    """As it is until this transaction ends."""
    statement = select(meter_types).where(_one(account_id, meter_type_id)).with_for_update()
    return (await connection.execute(statement)).mappings().first()


async def create_meter_type(connection: AsyncConnection, account_id: UUID, values: dict[str, Any]) -> RowMapping:
    shown: tuple[Any, ...] = (meter_types, literal(0).label("number_of_meters"))
    statement = insert(meter_types).values({"account_id": account_id, "id": uuid4()} | values).returning(*shown)
    try:
        return (await connection.execute(statement)).mappings().one()
    except IntegrityError as error:
        _raise_known(error)
        raise


async def update_meter_type(
    connection: AsyncConnection, account_id: UUID, meter_type_id: UUID, values: dict[str, Any]
) -> RowMapping:
    """Of one that this transaction has locked."""
    statement = update(meter_types).where(_one(account_id, meter_type_id)).values(values).returning(*_shown)
    try:
        return (await connection.execute(statement)).mappings().one()
    except IntegrityError as error:
        _raise_known(error)
        raise


async def delete_meter_type(connection: AsyncConnection, account_id: UUID, meter_type_id: UUID) -> int:
    """How many were deleted. A ConflictError while it has meters."""
    try:
        return (await connection.execute(delete(meter_types).where(_one(account_id, meter_type_id)))).rowcount
    except IntegrityError as error:
        _raise_known(error)
        raise
