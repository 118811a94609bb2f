"""The meters of one slice of usage: locked in one order, read once, written once."""

from collections.abc import Collection
from dataclasses import fields
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.rules.usage import Meter
from meterhouse.tables import meter_types, meters

_OF_TYPE = ("category", "active_from", "active_to", "reset_schedule")
_WRITTEN = (
    "thresholds",
    "value",
    "group_breakdowns",
    "carry_first",
    "carry_last",
    "meter_meta_data",
    "period_start",
    "period_end",
    "updated_at",
)


async def lock_meters(
    connection: AsyncConnection, account_id: UUID, meter_key: str, user_ids: Collection[str]
) -> list[Meter]:
    """Of these users at one Meter processor, until the transaction ends; in id order, so that nobody deadlocks."""
    columns = [
        meter_types.c.name.label("meter_type_name")
        if name == "meter_type_name"
        else (meter_types if name in _OF_TYPE else meters).c[name]
        for name in (field.name for field in fields(Meter))
        if name != "changed"
    ]
    same_type = (meter_types.c.account_id == meters.c.account_id) & (meter_types.c.id == meters.c.meter_type_id)
    users = bindparam("users", sorted(user_ids), type_=ARRAY(Text))
    statement = (
        select(*columns)
        .join_from(meters, meter_types, same_type)
        .where(meters.c.account_id == account_id, meters.c.meter_key == meter_key, meters.c.user_id == any_(users))
        .order_by(meters.c.id)
        .with_for_update(of=meters)
    )
    return [Meter(*row) for row in await connection.execute(statement)]


async def write_meters(connection: AsyncConnection, account_id: UUID, changed: Collection[Meter]) -> None:
    """Of meters that this transaction has locked."""
    if not changed:
        return
    statement = (
        update(meters)
        .where(meters.c.account_id == bindparam("of_account"), meters.c.id == bindparam("of_id"))
        .values({name: bindparam(f"new_{name}") for name in _WRITTEN})
    )
    values = [
        {"of_account": account_id, "of_id": meter.id} | {f"new_{name}": getattr(meter, name) for name in _WRITTEN}
        for meter in changed
    ]
    await connection.execute(statement, values)


async def delete_meters(connection: AsyncConnection, account_id: UUID, ids: Collection[UUID]) -> None:
    await connection.execute(delete(meters).where(meters.c.account_id == account_id, meters.c.id.in_(ids)))
