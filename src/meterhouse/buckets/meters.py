"""/meters of a bucket, on both mounts: list, create, get, replace, delete."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from meterhouse import clock
from meterhouse.buckets import store
from meterhouse.buckets.payloads import MeterCreate, MeterUpdate, meter_json
from meterhouse.buckets.query import Meter
from meterhouse.buckets.scope import InBucket, Scope
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError, bad_field
from meterhouse.wire import JsonReply, Slice, page_headers, read_model

router = APIRouter()


class MeterPage(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=1000, alias="pageSize")] = 100
    order: Literal["ASC", "DESC"] = "ASC"
    order_by: Annotated[Literal["key", "name", "aggregation", "createdAt", "updatedAt"], Field(alias="orderBy")] = "key"
    include_deleted: Annotated[bool, Field(alias="includeDeleted")] = False


async def require_meter(connection: AsyncConnection, scope: Scope, id_or_slug: str) -> RowMapping:
    """By id, even a deleted one, or by the slug of a live one; else a NotFoundError."""
    row = await store.find_meter(connection, scope, id_or_slug)
    if row is None:
        raise NotFoundError(f"meter not found: {id_or_slug}")
    return row


async def require_queried_meter(connection: AsyncConnection, scope: Scope, id_or_slug: str) -> Meter:
    row = await require_meter(connection, scope, id_or_slug)
    return Meter(*(row[name] for name in Meter.__dataclass_fields__))


@router.get("/meters")
async def list_bucket_meters(
    request: Request, scope: InBucket, connection: Transaction, page: Annotated[MeterPage, Query()]
) -> Response:
    """A bare array; X-Total-Count and Link carry what a page does not."""
    column = store.METER_ORDER[page.order_by]
    order = column.asc() if page.order == "ASC" else column.desc()
    part = Slice(page.page_size, (page.page - 1) * page.page_size)
    rows, total = await store.list_meters(connection, scope, order, part, deleted=page.include_deleted)
    return JsonReply(
        [meter_json(row) for row in rows], headers=page_headers(request.url, page.page, page.page_size, total)
    )


@router.post("/meters")
async def create_bucket_meter(request: Request, scope: InBucket, connection: Transaction) -> Response:
    body = await read_model(request, MeterCreate)
    _require_fitting(body, scope)
    now = clock.now()
    values: dict[str, Any] = {
        "slug": body.slug,
        "name": body.name or body.slug,
        "description": body.description,
        "metadata": body.metadata,
        "aggregation": body.aggregation,
        "event_type": body.event_type,
        "event_from": body.event_from,
        "value_property": body.value_property,
        "group_by": body.group_by or {},
        "created_at": now,
        "updated_at": now,
    }
    return JsonReply(meter_json(await store.create_meter(connection, scope, values)), 201)


def _require_fitting(body: MeterCreate, scope: Scope) -> None:
    if body.aggregation != "COUNT" and body.value_property is None:
        raise bad_field("valueProperty", f"is required when the aggregation is {body.aggregation}", "missing")
    if body.aggregation == "COUNT" and body.value_property is not None and not scope.seed:
        raise bad_field("valueProperty", "is not allowed when the aggregation is count")
    _require_other_paths(body, body.value_property)


def _require_other_paths(body: MeterUpdate, value_property: str | None) -> None:
    for key, path in (body.group_by or {}).items():
        if path == value_property:
            raise bad_field(f"groupBy.{key}", "must not be the same path as valueProperty")


@router.get("/meters/{meterIdOrSlug}")
async def get_bucket_meter(meterIdOrSlug: str, scope: InBucket, connection: Transaction) -> Response:  # noqa: N803
    return JsonReply(meter_json(await require_meter(connection, scope, meterIdOrSlug)))


@router.put("/meters/{meterIdOrSlug}")
async def update_bucket_meter(
    request: Request,
    meterIdOrSlug: str,  # noqa: N803 - the reference's name
    scope: InBucket,
    connection: Transaction,
) -> Response:
    """Replaces (reference: metering 8.11): an omitted name becomes the slug, an omitted description stays."""
    body = await read_model(request, MeterUpdate)
    meter = await require_meter(connection, scope, meterIdOrSlug)
    _require_other_paths(body, meter["value_property"])
    values: dict[str, Any] = {
        "name": body.name or meter["slug"],
        "metadata": body.metadata,
        "group_by": body.group_by or {},
        "updated_at": clock.now(),
    }
    if body.description is not None:
        values["description"] = body.description
    row = await store.update_meter(connection, scope, meter["id"], values)
    if row is None:
        raise NotFoundError(f"meter not found: {meterIdOrSlug}")
    return JsonReply(meter_json(row))


@router.delete("/meters/{meterIdOrSlug}")
async def delete_bucket_meter(meterIdOrSlug: str, scope: InBucket, connection: Transaction) -> Response:  # noqa: N803
    """Marks it deleted; its id can still be read, its slug is free again. Deleting by id again changes nothing."""
    meter = await require_meter(connection, scope, meterIdOrSlug)
    now = clock.now()
    await store.update_meter(connection, scope, meter["id"], {"deleted_at": now, "updated_at": now})
    return Response(status_code=204)
