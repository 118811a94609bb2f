"""/usage-metering/v1/meter-types: list, create, get, update, delete (reference: usage engine 1.4)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError, bad_field
from meterhouse.meter_types import store
from meterhouse.meter_types.payloads import (
    Line,
    MeterTypeCreate,
    MeterTypeUpdate,
    PreviewBody,
    meter_type_json,
    reset_json,
)
from meterhouse.paging import SortedPage
from meterhouse.rules.periods import next_instant, schedule_of
from meterhouse.rules.thresholds import first_percentage
from meterhouse.rules.windows import find_zone
from meterhouse.wire import JsonReply, read_model

# A client that sends its own "now" may be a little behind.
CLOCK_SKEW = timedelta(minutes=5)

router = APIRouter(prefix="/usage-metering/v1/meter-types")


class MeterTypePage(SortedPage):
    name: Annotated[Line, Field(max_length=1000)] = ""


def _not_found(meter_type_id: UUID) -> NotFoundError:
    return NotFoundError(f"meter type not found: {meter_type_id}")


@router.get("")
async def list_meter_types(
    caller: Admitted, connection: Transaction, page: Annotated[MeterTypePage, Query()]
) -> Response:
    rows = await store.list_meter_types(connection, caller.account_id, page, page.name)
    return JsonReply({"meterTypes": [meter_type_json(row) for row in rows]})


@router.post("")
async def create_meter_type(request: Request, caller: Admitted, connection: Transaction) -> Response:
    body = await read_model(request, MeterTypeCreate)
    now = clock.now()
    columns = body.columns(now)
    _require_fitting(columns, columns, now)
    values = columns | {"created_at": now, "updated_at": now}
    return JsonReply(meter_type_json(await store.create_meter_type(connection, caller.account_id, values)), 201)


@router.post("/preview")
async def preview_meter_type(request: Request, caller: Admitted) -> Response:  # noqa: ARG001 - known callers alone
    """When meters with this schedule and zone are reset, from the code that resets them."""
    body = await read_model(request, PreviewBody)
    schedule, zone = schedule_of(**body.reset_schedule.model_dump()), find_zone(body.timezone)
    at = body.after or clock.now()
    resets = [at := next_instant(schedule, zone, at) for _ in range(body.count)]
    return JsonReply({"resets": [reset_json(one, zone) for one in resets]})


@router.get("/{id}")
async def get_meter_type(
    meter_type_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    row = await store.find_meter_type(connection, caller.account_id, meter_type_id)
    if row is None:
        raise _not_found(meter_type_id)
    return JsonReply(meter_type_json(row))


@router.patch("/{id}")
async def update_meter_type(
    request: Request, meter_type_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    """Meters that exist keep what they copied; schedule, category, name and activity they read through the type."""
    body = (await read_model(request, MeterTypeUpdate)).require_member()
    before = await store.lock_meter_type(connection, caller.account_id, meter_type_id)
    if before is None:
        raise _not_found(meter_type_id)
    now = clock.now()
    columns = body.columns(now)
    _require_fitting(columns, dict(before) | columns, now)
    values = columns | {"updated_at": now}
    return JsonReply(
        meter_type_json(await store.update_meter_type(connection, caller.account_id, meter_type_id, values))
    )


@router.delete("/{id}")
async def delete_meter_type(
    meter_type_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    deleted = await store.delete_meter_type(connection, caller.account_id, meter_type_id)
    if not deleted:
        raise _not_found(meter_type_id)
    return JsonReply({"deletedCount": deleted})


def _require_fitting(given: Mapping[str, Any], whole: Mapping[str, Any], now: datetime) -> None:
    """What hangs on the clock or on other members, which the request may have left as they are."""
    if "active_from" in given and given["active_from"] < now - CLOCK_SKEW:
        raise bad_field("activeFrom", "must not be in the past")
    sets_end = given.get("active_to") is not None
    if sets_end and given["active_to"] <= now:
        raise bad_field("activeTo", "must not be in the past")
    if whole.get("active_to") is not None and whole["active_to"] <= whole["active_from"]:
        raise bad_field("activeTo" if sets_end else "activeFrom", "activeTo must be after activeFrom")
    place = first_percentage(whole["thresholds"])
    if place is not None and whole.get("capacity") is None:
        raise bad_field(f"thresholds[{place}].capacityPercentage", "needs a capacity")
