"""/aggregation/v1/stores: a look into an open session (reference: usage-engine 1.8)."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from meterhouse.access.gate import Admitted
from meterhouse.aggregations.store import find_session
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.sessions import session_key
from meterhouse.rules.storable import storable
from meterhouse.wire import JsonReply

MAX_FIELDS = 100

router = APIRouter(prefix="/aggregation/v1/stores")

FieldValues = Annotated[
    list[Annotated[str, AfterValidator(storable)]], Query(alias="fieldValues", min_length=1, max_length=MAX_FIELDS)
]


@router.get("/{id}/sessions/lookup")
async def lookup_aggregation_session(
    store_id: Annotated[str, Path(alias="id")], field_values: FieldValues, caller: Admitted, connection: Transaction
) -> Response:
    row = await find_session(connection, caller.account_id, store_id, session_key(field_values))
    if row is None:
        raise NotFoundError("the aggregation store has no session for these values")
    timeout_at = row["timeout_at"]
    body = {
        "createdAt": format_milliseconds(row["created_at"]),
        "data": row["data"],
        "meta": row["meta"],
        "timeoutAt": None if timeout_at is None else format_milliseconds(timeout_at),
        "updatedAt": format_milliseconds(row["updated_at"]),
    }
    return JsonReply(body)
