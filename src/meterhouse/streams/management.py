"""/stream-management/v1/streams beside the seed's two operations: import, list, get, delete, deploy, start, runs."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import RowMapping
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import ConflictError, NotFoundError
from meterhouse.paging import Page
from meterhouse.rules.instants import format_milliseconds
from meterhouse.streams import correction_store, retention_store, run_store, store
from meterhouse.streams.function import REAL_TIME
from meterhouse.streams.imports import describe, read_import
from meterhouse.streams.imports import import_stream as import_document
from meterhouse.streams.payloads import StreamPage, Text
from meterhouse.tables import stream_log, stream_outputs
from meterhouse.webhooks.delivery_store import Owner, any_deliveries
from meterhouse.wire import JsonReply, decode_json, read_body

router = APIRouter(prefix="/stream-management/v1/streams")

StreamId = Annotated[UUID, Path(alias="id")]
Tag = Annotated[Text, Query()]
RunId = Annotated[UUID, Path(alias="runId")]


@router.post("/import")
async def import_stream(request: Request, caller: Admitted, connection: Transaction) -> Response:
    wanted = read_import(await read_body(request), created_by=caller.client_id)
    return JsonReply(await import_document(connection, caller.account_id, wanted, clock.now()), 201)


@router.get("")
async def list_streams(caller: Admitted, connection: Transaction, page: Annotated[StreamPage, Query()]) -> Response:
    rows = await store.list_streams(connection, caller.account_id, page.wanted(), page)
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
    """With its versions and runs; one that runs is undeployed first, what it rejected or has to send dealt with."""
    await _require_stream(connection, caller.account_id, stream_id)
    if await run_store.is_running(connection, caller.account_id, stream_id):
        raise ConflictError("the stream is running: undeploy it first")
    if await correction_store.functions_with_records(connection, caller.account_id, stream_id):
        raise ConflictError("the stream has records in Data correction: requeue or delete them first")
    if await any_deliveries(connection, Owner(caller.account_id, "stream", stream_id)):
        raise ConflictError("the stream has records that are not delivered yet: retry or delete what is parked")
    await retention_store.forget_memory(connection, caller.account_id, stream_id)
    return JsonReply({"deletedCount": await store.delete_stream(connection, caller.account_id, stream_id)})


async def _require_stream(connection: Any, account_id: UUID, stream_id: UUID) -> RowMapping:
    row = await store.find_stream(connection, account_id, stream_id)
    if row is None:
        raise NotFoundError(f"stream not found: {stream_id}")
    return row


async def _document(connection: Any, account_id: UUID, stream_id: UUID, tag: str | None) -> str:
    """The text of the version with the tag, or of the latest."""
    version = await store.find_version(connection, account_id, stream_id, tag)
    if version is None:
        raise NotFoundError(f"stream not found: {stream_id}" + (f" with the tag {tag}" if tag else ""))
    return str(version["document"])


def _is_real_time(document: str) -> bool:
    return any(node["type"] == REAL_TIME for node in decode_json(document.encode())["nodes"])


@router.post("/{id}/deploy")
async def deploy_stream(
    stream_id: StreamId, caller: Admitted, connection: Transaction, tag: Tag | None = None
) -> Response:
    """A real-time stream begins to run, a batch stream may be started. Deploying again takes the new version."""
    await store.find_stream(connection, caller.account_id, stream_id, lock=True)
    document = await _document(connection, caller.account_id, stream_id, tag)
    now = clock.now()
    await store.mark_deployed(connection, caller.account_id, stream_id, tag)
    answer: dict[str, Any] = {"id": stream_id, "deployed": True}
    if _is_real_time(document):
        if not await run_store.end_running(connection, caller.account_id, stream_id, now):
            raise ConflictError(
                "the stream is in the middle of a step: undeploy it, and deploy it when the run has ended"
            )
        run = run_store.NewRun(stream_id, "realtime", document)
        answer["runId"] = await run_store.insert_run(connection, caller.account_id, run, now)
    return JsonReply(answer)


@router.post("/{id}/undeploy")
async def undeploy_stream(stream_id: StreamId, caller: Admitted, connection: Transaction) -> Response:
    """A run in the middle of a step that takes long ends with that step."""
    await _require_stream(connection, caller.account_id, stream_id)
    now = clock.now()
    await store.mark_undeployed(connection, caller.account_id, stream_id)
    if not await run_store.end_running(connection, caller.account_id, stream_id, now):
        await store.ask_to_stop(connection, caller.account_id, stream_id, now)
    return JsonReply({"id": stream_id, "deployed": False})


@router.post("/{id}/start")
async def start_stream(
    stream_id: StreamId, caller: Admitted, connection: Transaction, tag: Tag | None = None
) -> Response:
    """The version with the tag; without one the deployed version or, where none is deployed, the latest."""
    deployed = None if tag else await store.find_deployed_version(connection, caller.account_id, stream_id)
    document = deployed["document"] if deployed else await _document(connection, caller.account_id, stream_id, tag)
    if _is_real_time(document):
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
    } | _totals(row)
    if row["ended_at"] is not None:
        body["endedAt"] = format_milliseconds(row["ended_at"])
    return body if row["error"] is None else body | {"error": row["error"]}


def _totals(row: RowMapping) -> dict[str, int]:
    """Of the usage audit: what readers brought, what writers got, what was rejected (reference: usage engine 5)."""
    totals = {"totalInput": 0, "totalOutput": 0, "totalRejected": 0}
    for node in decode_json(row["document"].encode())["nodes"]:
        counts = row["nodes"].get(node["id"])
        if counts is not None:
            kind, _, _ = node["type"].partition("/")
            totals["totalInput"] += counts["out"] if kind == "readers" else 0
            totals["totalOutput"] += counts["in"] if kind == "writers" else 0
            totals["totalRejected"] += counts["rejected"]
    return totals


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
