"""/sandbox/v1: the clock of metering, moved ahead by hand so that a month can be tested in a second."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import bad_field
from meterhouse.rules.instants import format_milliseconds, parse_instant
from meterhouse.sandbox import store
from meterhouse.sandbox.settle import settle
from meterhouse.wire import JsonReply, read_model

LAST_YEAR = 2100
_MAX_SECONDS = 100 * 366 * 86_400

router = APIRouter(prefix="/sandbox/v1")


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date-time in RFC 3339 as text")  # noqa: TRY004 - pydantic reports ValueErrors
    return parse_instant(value)


class ClockBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    now: Annotated[datetime, BeforeValidator(_instant)]


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


_Number = BeforeValidator(_number)


class AdvanceBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[float, Field(ge=0, le=_MAX_SECONDS), _Number]


class SettleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    timeout_seconds: Annotated[float, Field(alias="timeoutSeconds", gt=0, le=600), _Number] = 120


@router.get("/clock")
async def get_clock(caller: Admitted) -> Response:  # noqa: ARG001 - known callers alone
    return JsonReply({"now": format_milliseconds(clock.now())})


@router.put("/clock")
async def move_clock(request: Request, caller: Admitted, connection: Transaction) -> Response:  # noqa: ARG001
    """It goes on from there. Setting it back is refused."""
    body = await read_model(request, ClockBody)
    present = clock.now()
    if body.now < present:
        raise bad_field("now", f"the clock shows {format_milliseconds(present)} and only goes forward")
    _require_in_range(body.now, "now")
    return JsonReply(_clock_json(await store.move(connection, body.now - clock.real_now())))


@router.post("/clock/advance")
async def advance_clock(request: Request, caller: Admitted, connection: Transaction) -> Response:  # noqa: ARG001
    body = await read_model(request, AdvanceBody)
    by = timedelta(seconds=body.seconds)
    _require_in_range(clock.now() + by, "seconds")
    return JsonReply(_clock_json(await store.advance(connection, by)))


@router.post("/settle")
async def settle_sandbox(request: Request, caller: Admitted) -> Response:  # noqa: ARG001
    """Answers when everything is done that is due at the present instant; 503 when it takes too long."""
    body = await read_model(request, SettleBody, default={})
    await settle(request.app.state.engine, body.timeout_seconds)
    return JsonReply({"now": format_milliseconds(clock.now()), "settled": True})


def _require_in_range(wanted: datetime, field: str) -> None:
    if wanted.year > LAST_YEAR:
        raise bad_field(field, f"the clock ends with the year {LAST_YEAR}")


def _clock_json(ahead: timedelta) -> dict[str, Any]:
    """As every process will see it, this one too, once it is committed."""
    return {"now": format_milliseconds(clock.real_now() + ahead)}
