"""/stream-management/v1/streams: a stream's document and its versions (reference: usage-engine 1.7)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import ConflictError, NotFoundError
from meterhouse.paging import Page
from meterhouse.streams import store
from meterhouse.streams.payloads import TagBody, Text, export_json, version_json
from meterhouse.wire import JsonReply, read_model

router = APIRouter(prefix="/stream-management/v1/streams")

StreamId = Annotated[UUID, Path(alias="id")]
Tag = Annotated[Text, Query()]


@router.get("/{id}/export")
async def export_stream(
    stream_id: StreamId, caller: Admitted, connection: Transaction, tag: Tag | None = None
) -> Response:
    """The latest version unless a tag names another."""
    row = await store.find_version(connection, caller.account_id, stream_id, tag)
    if row is None:
        named = f" with the tag {tag}" if tag else ""
        raise NotFoundError(f"stream not found: {stream_id}{named}")
    return Response(export_json(row), media_type="application/json")


@router.get("/{id}/versions")
async def list_stream_versions(
    stream_id: StreamId, caller: Admitted, connection: Transaction, page: Annotated[Page, Query()]
) -> Response:
    rows = await store.list_versions(connection, caller.account_id, stream_id, page)
    if not rows and not await store.stream_exists(connection, caller.account_id, stream_id):
        raise NotFoundError(f"stream not found: {stream_id}")
    return JsonReply({"versions": [version_json(row) for row in rows]})


@router.post("/{id}/versions/tag")
async def tag_stream_version(
    request: Request, stream_id: StreamId, caller: Admitted, connection: Transaction
) -> Response:
    """The autosaved version gets a tag of its own; the next import makes another autosaved one."""
    body = await read_model(request, TagBody)
    if await store.find_stream(connection, caller.account_id, stream_id, lock=True) is None:
        raise NotFoundError(f"stream not found: {stream_id}")
    row = await store.tag_version(connection, caller.account_id, stream_id, body.names(), clock.now())
    return JsonReply(version_json(row))


@router.delete("/{id}/versions/{versionId}")
async def delete_stream_version(
    stream_id: StreamId,
    version_id: Annotated[UUID, Path(alias="versionId")],
    caller: Admitted,
    connection: Transaction,
) -> Response:
    """Of the stream's versions the deployed one stays, and the last one."""
    await store.find_stream(connection, caller.account_id, stream_id, lock=True)
    count = await store.delete_version(connection, caller.account_id, stream_id, version_id)
    if not count and await store.version_exists(connection, caller.account_id, stream_id, version_id):
        raise ConflictError("the version is deployed, or the only one of its stream")
    if not count:
        raise NotFoundError(f"version not found: {version_id}")
    return JsonReply({"deletedCount": count})
