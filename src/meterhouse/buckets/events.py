"""/events of a bucket, on both mounts: in, and out in two listings."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import admit
from meterhouse.buckets import store
from meterhouse.buckets.ingest import MAX_BODY_BYTES, Delivery, ingest, split_events
from meterhouse.buckets.listing import (
    MAX_PAGE,
    OLDEST,
    Cursor,
    Where,
    after,
    describe,
    every,
    of_customers,
    read_cursor,
    read_event_filter,
)
from meterhouse.buckets.payloads import Instant, Text
from meterhouse.buckets.scope import InBucket, find_scope
from meterhouse.database import Transaction
from meterhouse.errors import bad_field
from meterhouse.wire import JsonReply, read_body

router = APIRouter()


async def ingest_events(request: Request) -> Response:
    """204, or a receipt: on the seed mount always, on the other when Prefer asks for it.

    The hottest route: it is mounted without FastAPI's parameter handling.
    """
    caller = await admit(request, "ingest_events")
    scope = await find_scope(request, caller)
    partial = _flag(request.query_params.get("partial", "false"), "partial")
    full_receipt = "return=representation" in request.headers.get("prefer", "").lower().replace(" ", "")
    raws, is_list = split_events(await read_body(request, MAX_BODY_BYTES), request.headers.get("content-type", ""))
    receipt = await ingest(request.app.state.writer, scope, Delivery(raws, is_list, partial, full_receipt))
    if scope.seed or full_receipt:
        return JsonReply(receipt)
    return Response(status_code=204)


def _flag(text: str, name: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", ""):
        raise bad_field(name, "must be true or false")
    return text.lower() in ("true", "1")


class EventPage(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    client_id: Annotated[Text | None, Field(alias="clientId", min_length=1, max_length=36)] = None
    ingested_at_from: Annotated[Instant | None, Field(alias="ingestedAtFrom")] = None
    ingested_at_to: Annotated[Instant | None, Field(alias="ingestedAtTo")] = None
    id: Text | None = None
    subject: Text | None = None
    customer_ids: Annotated[list[Text], Field(alias="customerId", max_length=100)] = []
    start: Annotated[Instant | None, Field(alias="from")] = None
    end: Annotated[Instant | None, Field(alias="to")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE


@router.get("/events")
async def list_events(scope: InBucket, connection: Transaction, page: Annotated[EventPage, Query()]) -> Response:
    """A bare array, newest event time first, of the last 32 days unless `from` says later."""
    oldest = clock.now() - OLDEST
    if page.start is not None and page.start < oldest:
        raise bad_field("from", f"must be at most {OLDEST.days} days ago")
    if page.start is not None and page.end is not None and page.start > page.end:
        raise bad_field("from", "must be before to")
    conditions: list[Where] = [lambda c: c.time >= (page.start or oldest)]
    if page.end is not None:
        conditions.append(lambda c: c.time <= page.end if scope.seed else c.time < page.end)
    if page.ingested_at_from is not None:
        conditions.append(lambda c: c.ingested_at >= page.ingested_at_from)
    if page.ingested_at_to is not None:
        conditions.append(lambda c: c.ingested_at <= page.ingested_at_to)
    if page.id is not None:
        conditions.append(lambda c: c.id.contains(page.id, autoescape=True))
    if page.subject is not None:
        conditions.append(lambda c: c.subject == page.subject)
    if page.customer_ids:
        conditions.append(of_customers(scope, page.customer_ids))
    rows = await store.list_events(connection, scope, every(conditions), page.limit)
    return JsonReply(await describe(connection, scope, rows))


class EventCursorPage(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    client_id: Annotated[Text | None, Field(alias="clientId", min_length=1, max_length=36)] = None
    cursor: Annotated[Text | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE
    filter: Text | None = None


v2_router = APIRouter()


@v2_router.get("/events")
async def list_events_v2(
    scope: InBucket, connection: Transaction, page: Annotated[EventCursorPage, Query()]
) -> Response:
    """Pages by cursor, newest event time first, then latest arrival."""
    conditions: list[Where] = []
    if page.filter:
        conditions.extend(read_event_filter(page.filter, scope))
    if page.cursor:
        conditions.append(after(read_cursor(page.cursor)))
    rows = await store.list_events(connection, scope, every(conditions), page.limit)
    body = {"items": await describe(connection, scope, rows)}
    if len(rows) == page.limit:
        body["nextCursor"] = Cursor(rows[-1]["time"], rows[-1]["seq"]).text()  # type: ignore[assignment]
    return JsonReply(body)
