"""Meters: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.meter_types.store import violated
from meterhouse.paging import Page
from meterhouse.tables import meter_types, meters

_c = meters.c

_meter_type_name: ColumnElement[Any] = (
    select(meter_types.c.name)
    .where(meter_types.c.account_id == _c.account_id, meter_types.c.id == _c.meter_type_id)
    .correlate(meters)
    .scalar_subquery()
    .label("meter_type_name")
)
_shown: tuple[Any, ...] = (meters, _meter_type_name)


class MeterTypeGoneError(Exception):
    """The type was deleted after it was read."""


def _one(account_id: UUID, meter_id: UUID) -> ColumnElement[bool]:
    return and_(_c.account_id == account_id, _c.id == meter_id)


async def list_meters(
    connection: AsyncConnection, account_id: UUID, page: Page, wanted: Mapping[str, Any]
) -> Sequence[RowMapping]:
    """`wanted`: column name → value, all of which must be equal. The oldest first."""
    equal = [_c[name] == value for name, value in wanted.items()]
    statement = select(*_shown).where(_c.account_id == account_id, *equal).order_by(_c.created_at, _c.id)
    return (await connection.execute(statement.limit(page.limit).offset(page.skip))).mappings().all()


async def find_meter(connection: AsyncConnection, account_id: UUID, meter_id: UUID) -> RowMapping | None:
    return (await connection.execute(select(*_shown).where(_one(account_id, meter_id)))).mappings().first()


async def lock_meter(connection: AsyncConnection, account_id: UUID, meter_id: UUID) -> RowMapping | None:
    """As it is until this transaction ends."""
    statement = select(meters).where(_one(account_id, meter_id)).with_for_update()
    return (await connection.execute(statement)).mappings().first()


async def create_meter(
    connection: AsyncConnection, account_id: UUID, meter_type_name: str, values: dict[str, Any]
) -> RowMapping:
    """A ConflictError when the user has this meter; MeterTypeGoneError."""
    unused: dict[str, Any] = {
        "value": None,
        "group_breakdowns": [],
        "carry_first": {},
        "carry_last": {},
        "meter_meta_data": {},
    }
    shown: tuple[Any, ...] = (meters, literal(meter_type_name).label("meter_type_name"))
    statement = insert(meters).values({"account_id": account_id, "id": uuid4()} | unused | values).returning(*shown)
    try:
        return (await connection.execute(statement)).mappings().one()
    except IntegrityError as error:
        if violated(error) == "meters_identity_key":
            raise ConflictError("a meter with the same meterKey, meter type and userId already exists") from error
        if violated(error) == "meters_account_id_meter_type_id_fkey":
            raise MeterTypeGoneError from error
        raise


async def update_meter(
    connection: AsyncConnection, account_id: UUID, meter_id: UUID, values: dict[str, Any]
) -> RowMapping:
    """Of one that this transaction has locked."""
    statement = update(meters).where(_one(account_id, meter_id)).values(values).returning(*_shown)
    return (await connection.execute(statement)).mappings().one()


async def delete_meter(connection: AsyncConnection, account_id: UUID, meter_id: UUID) -> int:
    """How many were deleted."""
    return (await connection.execute(delete(meters).where(_one(account_id, meter_id)))).rowcount
