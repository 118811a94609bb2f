"""/stream-management/v1/streams/{id}/deliveries: what a stream's HTTP writers have still to send."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError
from meterhouse.streams.store import stream_exists
from meterhouse.webhooks import delivery_store
from meterhouse.webhooks.delivery_store import Owner
from meterhouse.webhooks.payloads import ChosenDeliveries, DeliveryPage, delivery_json
from meterhouse.wire import JsonReply, read_model

router = APIRouter(prefix="/stream-management/v1/streams/{id}/deliveries")

StreamId = Annotated[UUID, Path(alias="id")]


async def _require_owner(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> Owner:
    if not await stream_exists(connection, account_id, stream_id):
        raise NotFoundError(f"stream not found: {stream_id}")
    return Owner(account_id, "stream", stream_id)


@router.get("")
async def list_stream_deliveries(
    stream_id: StreamId, caller: Admitted, connection: Transaction, page: Annotated[DeliveryPage, Query()]
) -> Response:
    owner = await _require_owner(connection, caller.account_id, stream_id)
    rows = await delivery_store.list_deliveries(connection, owner, page.status, page)
    return JsonReply({"deliveries": [delivery_json(row) for row in rows]})


@router.post("/retry")
async def retry_stream_deliveries(
    request: Request, stream_id: StreamId, caller: Admitted, connection: Transaction
) -> Response:
    body = await read_model(request, ChosenDeliveries, default={})
    owner = await _require_owner(connection, caller.account_id, stream_id)
    return JsonReply({"retriedCount": await delivery_store.retry_parked(connection, owner, body.ids, clock.now())})


@router.post("/delete")
async def delete_stream_deliveries(
    request: Request, stream_id: StreamId, caller: Admitted, connection: Transaction
) -> Response:
    """Parked ones that nobody will take any more, which keep the stream from being deleted."""
    body = await read_model(request, ChosenDeliveries, default={})
    owner = await _require_owner(connection, caller.account_id, stream_id)
    return JsonReply({"deletedCount": await delivery_store.delete_parked(connection, owner, body.ids)})
