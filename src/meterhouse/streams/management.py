"""/stream-management/v1/streams beside the seed's two operations: import, list, get, delete, deploy, start, runs."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator
from sqlalchemy import RowMapping
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import ConflictError, NotFoundError
from meterhouse.paging import Page
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.storable import storable
from meterhouse.streams import correction_store, run_store, store
from meterhouse.streams.imports import MAX_NAME, describe, read_import
from meterhouse.streams.imports import import_stream as import_document
from meterhouse.tables import stream_log, stream_outputs
from meterhouse.wire import JsonReply, decode_json, read_body

router = APIRouter(prefix="/stream-management/v1/streams")

StreamId = Annotated[UUID, Path(alias="id")]
RunId = Annotated[UUID, Path(alias="runId")]
REAL_TIME = "readers/online_collection"


@router.post("/import")
async def import_stream(request: Request, caller: Admitted, connection: Transaction) -> Response:
    wanted = read_import(await read_body(request))
    return JsonReply(await import_document(connection, caller.account_id, wanted, clock.now()), 201)


NamePart = Annotated[Annotated[str, AfterValidator(storable)] | None, Query(max_length=MAX_NAME)]


@router.get("")
async def list_streams(
    caller: Admitted, connection: Transaction, page: Annotated[Page, Query()], name: NamePart = None
) -> Response:
    rows = await store.list_streams(connection, caller.account_id, name, page)
    return JsonReply({"streams": [_stream_json(row) for row in rows]})


def _stream_json(row: RowMapping) -> dict[str, Any]:
    dates = {"createdAt": format_milliseconds(row["created_at"]), "updatedAt": format_milliseconds(row["updated_at"])}
    return {"id": row["id"], "name": row["name"]} | dates


@router.get("/{id}")
async def get_stream(stream_id: StreamId, caller: Admitted, connection: Transaction) -> Response:
    row = await _require_stream(connection, caller.account_id, stream_id)
    return JsonReply(_stream_json(row) | await describe(connection, caller.account_id, stream_id, row["name"]))


@router.delete("/{id}")
async def delete_stream(stream_id: StreamId, caller: Admitted, connection: Transaction) -> Response:
    """With its versions and runs; a running one must be undeployed, its rejected records dealt with first."""
    await _require_stream(connection, caller.account_id, stream_id)
    if await run_store.is_running(connection, caller.account_id, stream_id):
        raise ConflictError("the stream is running: undeploy it first")
    if await correction_store.any_records(connection, caller.account_id, stream_id):
        raise ConflictError("the stream has records in Data correction: requeue or delete them first")
    return JsonReply({"deletedCount": await store.delete_stream(connection, caller.account_id, stream_id)})


async def _require_stream(connection: Any, account_id: UUID, stream_id: UUID) -> RowMapping:
    row = await store.find_stream(connection, account_id, stream_id)
    if row is None:
        raise NotFoundError(f"stream not found: {stream_id}")
    return row


async def _document(connection: Any, account_id: UUID, stream_id: UUID, tag: str | None) -> tuple[str, bool]:
    """The text of a version, and whether it is a real-time stream."""
    version = await store.find_version(connection, account_id, stream_id, tag)
    if version is None:
        raise NotFoundError(f"stream not found: {stream_id}" + (f" with the tag {tag}" if tag else ""))
    nodes = decode_json(version["document"].encode())["nodes"]
    return version["document"], any(node["type"] == REAL_TIME for node in nodes)


@router.post("/{id}/deploy")
async def deploy_stream(
    stream_id: StreamId, caller: Admitted, connection: Transaction, tag: str | None = None
) -> Response:
    """A real-time stream begins to run, a batch stream may be started. Deploying again takes the new version."""
    document, real_time = await _document(connection, caller.account_id, stream_id, tag)
    now = clock.now()
    await store.mark_deployed(connection, caller.account_id, stream_id, tag)
    answer: dict[str, Any] = {"id": stream_id, "deployed": True}
    if real_time:
        await run_store.end_running(connection, caller.account_id, stream_id, now)
        run = run_store.NewRun(stream_id, "realtime", document)
        answer["runId"] = await run_store.insert_run(connection, caller.account_id, run, now)
    return JsonReply(answer)


@router.post("/{id}/undeploy")
async def undeploy_stream(stream_id: StreamId, caller: Admitted, connection: Transaction) -> Response:
    await _require_stream(connection, caller.account_id, stream_id)
    await store.mark_undeployed(connection, caller.account_id, stream_id)
    await run_store.end_running(connection, caller.account_id, stream_id, clock.now())
    return JsonReply({"id": stream_id, "deployed": False})


@router.post("/{id}/start")
async def start_stream(
    stream_id: StreamId, caller: Admitted, connection: Transaction, tag: str | None = None
) -> Response:
    document, real_time = await _document(connection, caller.account_id, stream_id, tag)
    if real_time:
        raise ConflictError("a real-time stream is not started but deployed")
    run = run_store.NewRun(stream_id, "batch", document)
    return JsonReply({"runId": await run_store.insert_run(connection, caller.account_id, run, clock.now())}, 202)


@router.get("/{id}/runs")
async def list_stream_runs(
    stream_id: StreamId, caller: Admitted, connection: Transaction, page: Annotated[Page, Query()]
) -> Response:
    await _require_stream(connection, caller.account_id, stream_id)
    rows = await run_store.list_runs(connection, caller.account_id, stream_id, page)
    return JsonReply({"runs": [_run_json(row) for row in rows]})


@router.get("/{id}/runs/{runId}")
async def get_stream_run(stream_id: StreamId, run_id: RunId, caller: Admitted, connection: Transaction) -> Response:
    return JsonReply(_run_json(await _require_run(connection, caller.account_id, stream_id, run_id)))


async def _require_run(connection: Any, account_id: UUID, stream_id: UUID, run_id: UUID) -> RowMapping:
    row = await run_store.find_run(connection, account_id, stream_id, run_id)
    if row is None:
        raise NotFoundError(f"run not found: {run_id}")
    return row


def _run_json(row: RowMapping) -> dict[str, Any]:
    body = {
        "id": row["id"],
        "streamId": row["stream_id"],
        "kind": row["kind"],
        "status": row["status"],
        "startedAt": format_milliseconds(row["started_at"]),
        "nodes": row["nodes"],
        "audit": row["audit"],
    }
    if row["ended_at"] is not None:
        body["endedAt"] = format_milliseconds(row["ended_at"])
    return body if row["error"] is None else body | {"error": row["error"]}


@router.get("/{id}/runs/{runId}/log")
async def get_stream_run_log(
    stream_id: StreamId, run_id: RunId, caller: Admitted, connection: Transaction, page: Annotated[Page, Query()]
) -> Response:
    await _require_run(connection, caller.account_id, stream_id, run_id)
    rows = await run_store.list_lines(connection, stream_log, caller.account_id, run_id, page)
    lines = [
        {
            "nodeId": row["node_id"],
            "level": row["level"],
            "message": row["message"],
            "loggedAt": format_milliseconds(row["logged_at"]),
        }
        for row in rows
    ]
    return JsonReply({"log": lines})


@router.get("/{id}/runs/{runId}/outputs")
async def list_stream_run_outputs(
    stream_id: StreamId, run_id: RunId, caller: Admitted, connection: Transaction, page: Annotated[Page, Query()]
) -> Response:
    await _require_run(connection, caller.account_id, stream_id, run_id)
    rows = await run_store.list_lines(connection, stream_outputs, caller.account_id, run_id, page)
    return JsonReply({"outputs": [{"nodeId": row["node_id"], "payload": row["payload"]} for row in rows]})
