"""Buckets under /v1/metering, and both mounts of what is in them (reference: metering 8)."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.routing import Route

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.access.store import create_bucket as insert_bucket
from meterhouse.access.store import delete_bucket as mark_bucket_deleted
from meterhouse.buckets import customers, events, meters, portal, store, usage
from meterhouse.buckets.payloads import BucketCreate, bucket_json
from meterhouse.database import Transaction
from meterhouse.errors import ForbiddenError, NotFoundError
from meterhouse.wire import JsonReply, Slice, read_model

SEED_MOUNT = "/v3/metering/{bucketId}"
OPENMETER_MOUNT = "/api/v1"

buckets = APIRouter(prefix="/v1/metering")


class BucketPage(BaseModel):
    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


@buckets.get("")
async def list_buckets(caller: Admitted, connection: Transaction, page: Annotated[BucketPage, Query()]) -> Response:
    rows, total = await store.list_buckets(
        connection, caller.account_id, caller.bucket_no, Slice(page.limit, page.offset)
    )
    data = [bucket_json(row) for row in rows]
    return JsonReply({"data": data, "limit": page.limit, "offset": page.offset, "total": total})


@buckets.post("")
async def create_bucket(request: Request, caller: Admitted, connection: Transaction) -> Response:
    if caller.bucket_no is not None:
        raise ForbiddenError("this API key opens one bucket and cannot create others")
    body = await read_model(request, BucketCreate, default={})
    created = await insert_bucket(connection, caller.account_id, body.name, clock.now())
    row = await store.read_bucket(connection, caller.account_id, None, created.id)
    assert row is not None, "created in this transaction"
    return JsonReply(bucket_json(row), 201)


@buckets.get("/{bucketId}")
async def get_bucket(bucketId: str, caller: Admitted, connection: Transaction) -> Response:  # noqa: N803
    row = await store.read_bucket(connection, caller.account_id, caller.bucket_no, bucketId)
    if row is None:
        raise NotFoundError(f"bucket not found: {bucketId}")
    return JsonReply(bucket_json(row))


@buckets.delete("/{bucketId}")
async def delete_bucket(request: Request, bucketId: str, caller: Admitted, connection: Transaction) -> Response:  # noqa: N803
    row = await store.read_bucket(connection, caller.account_id, caller.bucket_no, bucketId)
    if row is None or await mark_bucket_deleted(connection, caller.account_id, bucketId, clock.now()) is None:
        raise NotFoundError(f"bucket not found: {bucketId}")
    request.app.state.buckets.forget()
    return Response(status_code=204)


def include_in(app: FastAPI) -> None:
    """Every bucket route. The events' way in is a plain route: FastAPI's own work would double its cost."""
    app.include_router(buckets)
    for mount in (SEED_MOUNT, OPENMETER_MOUNT):
        app.router.routes.append(Route(f"{mount}/events", events.ingest_events, methods=["POST"], name="ingest_events"))
        for part in (meters, usage, customers, events):
            app.include_router(part.router, prefix=mount)
    app.include_router(portal.router, prefix=OPENMETER_MOUNT)
    app.include_router(events.v2_router, prefix="/api/v2")
