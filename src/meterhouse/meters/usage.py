"""The meters of one transaction: locked, read once, written once."""

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, any_, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.rules.usage import Meter
from meterhouse.tables import meter_types, meters
from meterhouse.wire import encode_plain

_OF_TYPE = ("category", "active_from", "active_to", "reset_schedule")


def _select(*more: Any) -> Select[Any]:
    """Whole meters, locked until the transaction ends; `more` columns stand before them."""
    columns = [
        meter_types.c.name.label("meter_type_name")
        if name == "meter_type_name"
        else (meter_types if name in _OF_TYPE else meters).c[name]
        for name in (field.name for field in fields(Meter))
        if name != "changed"
    ]
    same_type = (meter_types.c.account_id == meters.c.account_id) & (meter_types.c.id == meters.c.meter_type_id)
    return select(*more, *columns).join_from(meters, meter_types, same_type)


async def lock_meters(
    connection: AsyncConnection, account_id: UUID, meter_key: str, user_ids: Collection[str]
) -> list[Meter]:
    """Of these users at one Meter processor; in id order, so that nobody deadlocks."""
    users = bindparam("users", sorted(user_ids), type_=ARRAY(Text))
    own = (meters.c.account_id == account_id, meters.c.meter_key == meter_key, meters.c.user_id == any_(users))
    statement = _select().where(*own).order_by(meters.c.id).with_for_update(of=meters)
    return [Meter(*row) for row in await connection.execute(statement)]


async def lock_meters_of_key(
    connection: AsyncConnection, account_id: UUID, meter_key: str, after: UUID | None, limit: int
) -> list[Meter]:
    """Of one Meter processor, those behind the id `after`, in id order."""
    statement = _select().where(meters.c.account_id == account_id, meters.c.meter_key == meter_key)
    if after is not None:
        statement = statement.where(meters.c.id > after)
    statement = statement.order_by(meters.c.id).limit(limit).with_for_update(of=meters)
    return [Meter(*row) for row in await connection.execute(statement)]


async def claim_due_meters(connection: AsyncConnection, now: datetime, limit: int) -> list[tuple[UUID, Meter]]:
    """Account and meter, the longest due first, of all accounts: workers close everybody's. Waits for nobody."""
    statement = _select(meters.c.account_id).where(meters.c.close_at <= now).order_by(meters.c.close_at).limit(limit)
    rows = await connection.execute(statement.with_for_update(of=meters, skip_locked=True))
    return [(row[0], Meter(*row[1:])) for row in rows]


async def claim_due_meter(connection: AsyncConnection, account_id: UUID, meter_id: UUID, now: datetime) -> Meter | None:
    """One of them, if it is still due and nobody else has it."""
    own = (meters.c.account_id == account_id, meters.c.id == meter_id, meters.c.close_at <= now)
    found = (await connection.execute(_select().where(*own).with_for_update(of=meters, skip_locked=True))).first()
    return None if found is None else Meter(*found)


_WRITE = text(
    """
    UPDATE meters AS m SET
        thresholds = g.thresholds, value = g.value, group_breakdowns = g.group_breakdowns,
        carry_first = g.carry_first, carry_last = g.carry_last, meter_meta_data = g.meter_meta_data,
        period_start = g.period_start, period_end = g.period_end, close_at = g.period_end, close_error = NULL,
        period_schedule = g.period_schedule, period_tz_version = g.period_tz_version,
        last_period_hash = g.last_period_hash, updated_at = g.updated_at
    FROM json_to_recordset(CAST(:rows AS json)) AS g
        (id uuid, thresholds json, value numeric, group_breakdowns jsonb, carry_first jsonb, carry_last jsonb,
         meter_meta_data jsonb, period_start timestamptz, period_end timestamptz, period_schedule jsonb,
         period_tz_version text, last_period_hash text, updated_at timestamptz)
    WHERE m.account_id = :account_id AND m.id = g.id
    """
)
_WRITTEN = (
    "id",
    "thresholds",
    "value",
    "group_breakdowns",
    "carry_first",
    "carry_last",
    "meter_meta_data",
    "period_start",
    "period_end",
    "period_schedule",
    "period_tz_version",
    "last_period_hash",
    "updated_at",
)


async def write_meters(connection: AsyncConnection, account_id: UUID, changed: Collection[Meter]) -> None:
    """Of meters that this transaction has locked: all at once, as one JSON text."""
    if changed:
        rows = [{name: getattr(meter, name) for name in _WRITTEN} for meter in changed]
        await connection.execute(_WRITE, {"account_id": account_id, "rows": encode_plain(rows).decode()})


async def delete_meters(connection: AsyncConnection, account_id: UUID, ids: Collection[UUID]) -> None:
    if ids:
        await connection.execute(delete(meters).where(meters.c.account_id == account_id, meters.c.id.in_(ids)))


_POSTPONE = text(
    """
    UPDATE meters SET close_at = CAST(:until AS timestamptz), close_error = :error
    WHERE account_id = :account_id AND id = :id AND close_at < :until
    """
)


async def postpone_meter(
    connection: AsyncConnection, account_id: UUID, meter_id: UUID, error: str, until: datetime
) -> None:
    """One whose period could not be closed: it is due again at `until`, and the error can be seen until then."""
    values = {"account_id": account_id, "id": meter_id, "error": error, "until": until}
    await connection.execute(_POSTPONE, values)
