"""/data-correction/v1/records: what functions rejected is listed, corrected, sent in again, deleted (reference: 5)."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import bad_field
from meterhouse.streams import correction_store as store
from meterhouse.streams.correction_payloads import (
    MAX_BODY_BYTES,
    MAX_RECORDS,
    ChoiceBody,
    CorrectionBody,
    FilteredPage,
    record_json,
    summary_json,
)
from meterhouse.wire import JsonReply, read_body, read_model

router = APIRouter(prefix="/data-correction/v1/records")


async def _read_large_body(request: Request) -> bytes:
    return await read_body(request, MAX_BODY_BYTES)


# Stands behind the caller and before the transaction, which would read no more than an ordinary body.
LargeBody = Annotated[bytes, Depends(_read_large_body)]


@router.get("")
async def list_rejected_records(
    caller: Admitted, connection: Transaction, page: Annotated[FilteredPage, Query()]
) -> Response:
    choice = store.Choice(**page.given())
    if page.summary:
        rows = await store.summarize(connection, caller.account_id, choice, page)
        return JsonReply({"summary": [summary_json(row) for row in rows]})
    rows = await store.list_records(connection, caller.account_id, choice, page)
    return JsonReply({"records": [record_json(row) for row in rows]})


@router.post("/correct")
async def correct_rejected_records(
    request: Request, caller: Admitted, body: LargeBody, connection: Transaction
) -> Response:
    """A record that was queued is open again: it waits until it is requeued."""
    wanted = await read_model(request, CorrectionBody)
    wanted.require_one(body)
    ids = await _lock(connection, caller.account_id, {"ids": wanted.ids})
    if wanted.payload is not None:
        count = await store.correct_records(connection, caller.account_id, ids, wanted.payload, clock.now())
    else:
        count = await store.change_records(connection, caller.account_id, ids, wanted.changes or {}, clock.now())
    return JsonReply({"correctedCount": count})


@router.post("/requeue")
async def requeue_rejected_records(
    request: Request, caller: Admitted, _: LargeBody, connection: Transaction
) -> Response:
    """The stream's next step takes them, a batch stream's when it is started; those that are queued stay so."""
    wanted = await read_model(request, ChoiceBody)
    given = wanted.given()
    if given.get("status") == "queued":
        raise bad_field("filter.status", "only open records can be requeued")
    ids = await _lock(connection, caller.account_id, given | {"status": "open"})
    return JsonReply({"requeuedCount": await store.requeue_records(connection, caller.account_id, ids, clock.now())})


@router.post("/delete")
async def delete_rejected_records(
    request: Request, caller: Admitted, _: LargeBody, connection: Transaction
) -> Response:
    wanted = await read_model(request, ChoiceBody)
    ids = await _lock(connection, caller.account_id, wanted.given())
    return JsonReply({"deletedCount": await store.delete_records(connection, caller.account_id, ids)})


async def _lock(connection: AsyncConnection, account_id: UUID, given: dict[str, Any]) -> list[UUID]:
    """Those of the records that there are. Raises BadRequestError for more than one action may touch."""
    ids = await store.lock_records(connection, account_id, store.Choice(**given), MAX_RECORDS + 1)
    if len(ids) > MAX_RECORDS:
        raise bad_field("filter", f"finds more than {MAX_RECORDS} records, which is the most an action may touch")
    return ids
