"""/stream-management/v1/streams: a stream's document and its versions (reference: usage-engine 1.7)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError
from meterhouse.paging import Page
from meterhouse.rules.storable import storable
from meterhouse.streams import store
from meterhouse.streams.payloads import export_json, version_json
from meterhouse.wire import JsonReply

router = APIRouter(prefix="/stream-management/v1/streams")

Tag = Annotated[str, AfterValidator(storable), Query(min_length=1)]


@router.get("/{id}/export")
async def export_stream(
    stream_id: Annotated[UUID, Path(alias="id")], caller: Admitted, connection: Transaction, tag: Tag | None = None
) -> Response:
    """The latest version unless a tag names another."""
    row = await store.find_version(connection, caller.account_id, stream_id, tag)
    if row is None:
        named = f" with the tag {tag}" if tag else ""
        raise NotFoundError(f"stream not found: {stream_id}{named}")
    return Response(export_json(row), media_type="application/json")


@router.get("/{id}/versions")
async def list_stream_versions(
    stream_id: Annotated[UUID, Path(alias="id")],
    caller: Admitted,
    connection: Transaction,
    page: Annotated[Page, Query()],
) -> Response:
    rows = await store.list_versions(connection, caller.account_id, stream_id, page)
    if not rows and not await store.stream_exists(connection, caller.account_id, stream_id):
        raise NotFoundError(f"stream not found: {stream_id}")
    return JsonReply({"versions": [version_json(row) for row in rows]})
