"""/online-collection/v1/collectors: collectors, and the way in for what is sent to them (reference: 1.6, 3)."""

import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, FastAPI, Path, Query, Request
from starlette.responses import Response
from starlette.routing import Route

from meterhouse import clock
from meterhouse.access.gate import Admitted, admit
from meterhouse.collectors import store
from meterhouse.collectors.payloads import CollectorBody, collector_json, ingestion_json, read_data
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError, bad_field
from meterhouse.paging import SortedPage, sort_key
from meterhouse.wire import JsonReply, read_body, read_model

_PREFIX = "/online-collection/v1/collectors"
_LARGE_BODY_BYTES = 64 * 1024

router = APIRouter(prefix=_PREFIX)


class CollectorPage(SortedPage):
    """The newest collector first unless asked otherwise."""

    sort_order: Literal["ASC", "DESC"] = "DESC"


@router.get("")
async def list_collectors(
    caller: Admitted, connection: Transaction, page: Annotated[CollectorPage, Query()]
) -> Response:
    order = sort_key(page, store.COLLECTOR_ORDER, "createdAt")
    rows, total = await store.list_collectors(connection, caller.account_id, order, page)
    listed = [collector_json(row) for row in rows]
    return JsonReply({"collectors": listed, "limit": page.limit, "skip": page.skip, "total": total})


@router.post("")
async def create_collector(request: Request, caller: Admitted, connection: Transaction) -> Response:
    body = await read_model(request, CollectorBody)
    row = await store.create_collector(connection, caller.account_id, body.name, clock.now())
    return JsonReply(collector_json(row), 201)


@router.get("/{id}")
async def get_collector(
    collector_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    row = await store.find_collector(connection, caller.account_id, collector_id)
    if row is None:
        raise _not_found(collector_id)
    return JsonReply(collector_json(row))


@router.patch("/{id}")
async def update_collector(
    request: Request, collector_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    body = await read_model(request, CollectorBody)
    row = await store.rename_collector(connection, caller.account_id, collector_id, body.name, clock.now())
    if row is None:
        raise _not_found(collector_id)
    return JsonReply(collector_json(row))


@router.delete("/{id}")
async def delete_collector(
    collector_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction
) -> Response:
    if not await store.delete_collector(connection, caller.account_id, collector_id):
        raise _not_found(collector_id)
    return JsonReply({"deletedCount": 1})


@router.get("/{id}/ingestions/{ingestionId}")
async def get_ingestion(
    collector_id: Annotated[UUID, Path(alias="id")],
    ingestion_id: Annotated[UUID, Path(alias="ingestionId")],
    caller: Admitted,
    connection: Transaction,
) -> Response:
    """Ours: whether what a client was told is stored. Unlike `send_data` it is no part of the product's API."""
    row = await store.find_ingestion(connection, caller.account_id, collector_id, ingestion_id)
    if row is None:
        raise NotFoundError(f"ingestion not found: {ingestion_id}")
    readers = await store.readers_of(connection, caller.account_id, collector_id, row["seq"])
    rejections = await store.rejections_of(connection, caller.account_id, ingestion_id) if readers else []
    return JsonReply(ingestion_json(row, readers, rejections))


async def send_data(request: Request) -> Response:
    """202 after the commit. The hottest route of this API: it is mounted without FastAPI's parameter handling."""
    caller = await admit(request, "send_data")
    collector_id = _read_id(request.path_params["id"])
    body = await read_body(request)
    # A large body takes some 20 ms to check; the others' requests go on beside it.
    data = read_data(body) if len(body) < _LARGE_BODY_BYTES else await asyncio.to_thread(read_data, body)
    ingestion_id = await request.app.state.inbox.put(caller.account_id, collector_id, data, clock.now())
    return JsonReply({"ingestionId": ingestion_id}, 202)


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise bad_field("id", "must be a UUID") from None


def _not_found(collector_id: UUID) -> NotFoundError:
    return NotFoundError(f"collector not found: {collector_id}")


def include_in(app: FastAPI) -> None:
    app.include_router(router)
    app.router.routes.append(Route(f"{_PREFIX}/{{id}}/send", send_data, methods=["POST"], name="send_data"))
