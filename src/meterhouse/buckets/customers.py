"""/customers of a bucket, on both mounts: whose usage a subject is (reference: metering 2.4)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from meterhouse import clock
from meterhouse.buckets import store
from meterhouse.buckets.payloads import CustomerBody, Text, customer_json
from meterhouse.buckets.scope import InBucket, Scope
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError
from meterhouse.wire import JsonReply, Slice, read_model

router = APIRouter()


class CustomerPage(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=1000, alias="pageSize")] = 100
    include_deleted: Annotated[bool, Field(alias="includeDeleted")] = False
    key: Text | None = None
    name: Text | None = None
    primary_email: Annotated[Text | None, Field(alias="primaryEmail")] = None
    subject: Text | None = None


@router.get("/customers")
async def list_customers(scope: InBucket, connection: Transaction, page: Annotated[CustomerPage, Query()]) -> Response:
    named = {"key": page.key, "name": page.name, "primaryEmail": page.primary_email, "subject": page.subject}
    filters = {name: text for name, text in named.items() if text}
    part = Slice(page.page_size, (page.page - 1) * page.page_size)
    rows, total = await store.list_customers(connection, scope, filters, part, deleted=page.include_deleted)
    items = [customer_json(row) for row in rows]
    return JsonReply({"totalCount": total, "page": page.page, "pageSize": page.page_size, "items": items})


@router.post("/customers")
async def create_customer(request: Request, scope: InBucket, connection: Transaction) -> Response:
    now = clock.now()
    values = _values(await read_model(request, CustomerBody), now) | {"created_at": now}
    return JsonReply(customer_json(await store.create_customer(connection, scope, values)), 201)


@router.get("/customers/{customerIdOrKey}")
async def get_customer(customerIdOrKey: str, scope: InBucket, connection: Transaction) -> Response:  # noqa: N803
    return JsonReply(customer_json(await _require(connection, scope, customerIdOrKey)))


@router.put("/customers/{customerIdOrKey}")
async def update_customer(
    request: Request,
    customerIdOrKey: str,  # noqa: N803 - the reference's name
    scope: InBucket,
    connection: Transaction,
) -> Response:
    body = await read_model(request, CustomerBody)
    return JsonReply(customer_json(await _change(connection, scope, customerIdOrKey, _values(body, clock.now()))))


@router.delete("/customers/{customerIdOrKey}")
async def delete_customer(customerIdOrKey: str, scope: InBucket, connection: Transaction) -> Response:  # noqa: N803
    """Its subjects are free again; the usage they had stays usage of the subjects."""
    now = clock.now()
    await _change(connection, scope, customerIdOrKey, {"deleted_at": now, "updated_at": now})
    return Response(status_code=204)


def _values(body: CustomerBody, now: datetime) -> dict[str, Any]:
    values = body.model_dump(exclude={"usage_attribution"})
    subjects = body.usage_attribution.subject_keys if body.usage_attribution else []
    return values | {"subject_keys": list(dict.fromkeys(subjects)), "updated_at": now}


async def _require(connection: AsyncConnection, scope: Scope, id_or_key: str) -> RowMapping:
    row = await store.find_customer(connection, scope, id_or_key)
    if row is None:
        raise NotFoundError(f"customer not found: {id_or_key}")
    return row


async def _change(connection: AsyncConnection, scope: Scope, id_or_key: str, values: dict[str, Any]) -> RowMapping:
    found = await _require(connection, scope, id_or_key)
    row = await store.update_customer(connection, scope, found["id"], values)
    if row is None:
        raise NotFoundError(f"customer not found: {id_or_key}")
    return row
