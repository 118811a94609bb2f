"""/usage-metering/v1/meters: list, create, get, update, delete (reference: usage engine 1.5), and closed periods."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import BadRequestError, NotFoundError, bad_field
from meterhouse.meter_types.store import find_by_external_ref, find_meter_type
from meterhouse.metered_records.payloads import period_json
from meterhouse.metered_records.store import has_periods, list_periods
from meterhouse.meters import store
from meterhouse.meters.payloads import MeterCreate, MeterKey, MeterTypeId, MeterUpdate, UserId, meter_json
from meterhouse.paging import Page
from meterhouse.rules.periods import next_instant, schedule_of
from meterhouse.rules.thresholds import first_percentage, keep_reached
from meterhouse.rules.windows import TZ_VERSION, find_zone
from meterhouse.wire import JsonReply, read_model

router = APIRouter(prefix="/usage-metering/v1/meters")


class MeterPage(Page):
    """The filters must hold together. An empty one is refused: a client that means to purge one type's meters, and
    lost its id on the way, would get everybody's."""

    meter_key: MeterKey | None = None
    meter_type_id: MeterTypeId | None = None
    user_id: UserId | None = None


def _not_found(meter_id: UUID) -> NotFoundError:
    return NotFoundError(f"meter not found: {meter_id}")


@router.get("")
async def list_meters(caller: Admitted, connection: Transaction, page: Annotated[MeterPage, Query()]) -> Response:
    wanted = page.model_dump(include={"meter_key", "meter_type_id", "user_id"}, exclude_none=True)
    rows = await store.list_meters(connection, caller.account_id, page, wanted)
    return JsonReply({"meters": [meter_json(row) for row in rows]})


@router.post("")
async def create_meter(request: Request, caller: Admitted, connection: Transaction) -> Response:
    """The meter key is not looked up: meters may be made before the stream that counts for them."""
    body = await read_model(request, MeterCreate)
    meter_type = await _require_meter_type(connection, caller.account_id, body)
    values = _copied(meter_type, clock.now()) | {
        "meter_key": body.meter_key,
        "user_id": body.user_id,
        "custom_fields": body.custom_fields,
    }
    try:
        row = await store.create_meter(connection, caller.account_id, meter_type["name"], values)
    except store.MeterTypeGoneError:
        raise _no_such_type(_reference(body)) from None
    return JsonReply(meter_json(row), 201)


def _copied(meter_type: RowMapping, now: datetime) -> dict[str, Any]:
    """What a meter takes from its type for good, and its first period."""
    schedule, zone = schedule_of(**meter_type["reset_schedule"]), find_zone(meter_type["timezone"])
    return {name: meter_type[name] for name in ("aggregation", "capacity", "thresholds", "timezone", "unit")} | {
        "meter_type_id": meter_type["id"],
        "delete_on_reset": False,
        "period_start": now,
        "period_end": (period_end := next_instant(schedule, zone, now)),
        "period_schedule": meter_type["reset_schedule"],
        "period_tz_version": TZ_VERSION,
        "close_at": period_end,
        "created_at": now,
        "updated_at": now,
    }


async def _require_meter_type(connection: AsyncConnection, account_id: UUID, body: MeterCreate) -> RowMapping:
    member = _reference(body)
    if body.meter_type_id is not None:
        meter_type = await find_meter_type(connection, account_id, body.meter_type_id)
    else:
        external_ref = body.external_ref or body.meter_type_external_ref
        assert external_ref is not None, "one of the three is there"
        meter_type = await find_by_external_ref(connection, account_id, external_ref)
    if meter_type is None:
        raise _no_such_type(member)
    return meter_type


def _reference(body: MeterCreate) -> str:
    """The one member that names the type."""
    members = {"meter_type_id": "meterTypeId", "external_ref": "externalRef"} | {
        "meter_type_external_ref": "meterTypeExternalRef"
    }
    given = [member for name, member in members.items() if name in body.model_fields_set]
    if not given:
        raise bad_field("meterTypeId", "is required (or externalRef, the meter type's external reference)", "missing")
    if len(given) > 1:
        raise bad_field(given[1], f"cannot be together with {given[0]}: name the meter type once")
    return given[0]


def _no_such_type(member: str) -> BadRequestError:
    return bad_field(member, "no meter type has it")


@router.get("/{id}")
async def get_meter(meter_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction) -> Response:
    row = await store.find_meter(connection, caller.account_id, meter_id)
    if row is None:
        raise _not_found(meter_id)
    return JsonReply(meter_json(row))


@router.patch("/{id}")
async def update_meter(
    request: Request, meter_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    body = (await read_model(request, MeterUpdate)).require_member()
    before = await store.lock_meter(connection, caller.account_id, meter_id)
    if before is None:
        raise _not_found(meter_id)
    columns = body.columns()
    if "thresholds" in columns:
        columns["thresholds"] = keep_reached(columns["thresholds"], before["thresholds"])
        place = first_percentage(columns["thresholds"])
        if place is not None and columns.get("capacity", before["capacity"]) is None:
            raise bad_field(f"thresholds[{place}].capacityPercentage", "needs a capacity")
    columns["updated_at"] = clock.now()
    return JsonReply(meter_json(await store.update_meter(connection, caller.account_id, meter_id, columns)))


@router.delete("/{id}")
async def delete_meter(
    meter_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    """At any time. Usage that was not sent downstream yet is lost with it."""
    deleted = await store.delete_meter(connection, caller.account_id, meter_id)
    if not deleted:
        raise _not_found(meter_id)
    return JsonReply({"deletedCount": deleted})


@router.get("/{id}/periods")
async def list_meter_periods(
    meter_id: Annotated[UUID, Path(alias="id")],
    caller: Admitted,
    connection: Transaction,
    page: Annotated[Page, Query()],
) -> Response:
    """The statements of closed periods, the oldest first. They outlive the meter."""
    rows = await list_periods(connection, caller.account_id, meter_id, page)
    if not rows and not await _is_known(connection, caller.account_id, meter_id):
        raise _not_found(meter_id)
    return JsonReply({"periods": [period_json(row) for row in rows]})


async def _is_known(connection: AsyncConnection, account_id: UUID, meter_id: UUID) -> bool:
    """There is the meter, or there was and a period of it was closed."""
    found = await store.find_meter(connection, account_id, meter_id)
    return found is not None or await has_periods(connection, account_id, meter_id)
