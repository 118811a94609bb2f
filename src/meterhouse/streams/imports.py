"""Importing a stream's document: checked, versioned, its nodes named (reference: usage engine 4.1, streams)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError, bad_field
from meterhouse.rules.sessions import store_id
from meterhouse.rules.storable import why_unstorable
from meterhouse.streams import correction_store, run_store, store
from meterhouse.streams.function import AGGREGATE, METER, StreamError
from meterhouse.streams.graph import read_graph
from meterhouse.streams.payloads import MAX_NAME
from meterhouse.wire import decode_json

Strategy = Literal["overwrite", "createNew", "skip"]

_NUMBERED = re.compile(r"(.*?)(?: \((\d+)\))?$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Import:
    """`document` is the JSON text of the stream, kept to the letter."""

    document: str
    strategy: Strategy | None
    allow_node_deletions: bool
    tag: str | None
    description: str | None
    created_by: str | None = None


async def import_stream(connection: AsyncConnection, account_id: UUID, wanted: Import, now: datetime) -> dict[str, Any]:
    """A name that is taken is a ConflictError unless the strategy says what to do."""
    document = read_document(wanted.document)
    name = document["name"]
    present = await store.lock_stream(connection, account_id, name)
    if present is not None and wanted.strategy is None:
        raise ConflictError(f"a stream is called {name!r}: choose a conflictStrategy: overwrite, createNew or skip")
    if present is not None and wanted.strategy == "skip":
        return await describe(connection, account_id, present, name)
    if present is None or wanted.strategy == "createNew":
        name = await _free_name(connection, account_id, name)
        stream_id = (await store.insert_stream(connection, account_id, name, now))["id"]
    else:
        stream_id = present
        await _require_same_nodes(connection, account_id, stream_id, document, wanted)
    await store.replace_version(
        connection,
        account_id,
        stream_id,
        store.NewVersion(wanted.document, wanted.tag, wanted.description, wanted.created_by),
        now,
    )
    await _name_nodes(connection, account_id, stream_id, document)
    return await describe(connection, account_id, stream_id, name)


def read_document(text: str) -> dict[str, Any]:
    """Members we do not know are kept; what the stream needs to be run is checked when it is run."""
    if (reason := why_unstorable(text.encode())) is not None:
        raise bad_field("stream", reason)
    document: dict[str, Any] = decode_json(text.encode())
    name = document.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise bad_field("stream.name", f"must be a text of 1 to {MAX_NAME} characters")
    for member in ("nodes", "edges"):
        if not isinstance(document.get(member), list):
            raise bad_field(f"stream.{member}", "must be a list")
    try:
        read_graph(document, {})
    except StreamError as error:
        raise bad_field("stream", str(error)) from None
    _require_exportable(document)
    return document


MAX_NODE_ID = 200  # it is part of a key


def _require_exportable(document: Mapping[str, Any]) -> None:
    """What runs do not look at comes back in every export, whose readers rely on its kind."""
    if not isinstance(document.get("description"), str | None):
        raise bad_field("stream.description", "must be a text")
    if not isinstance(document.get("annotation"), dict | None):
        raise bad_field("stream.annotation", "must be an object")
    groups = document.get("nodeGroups")
    if not isinstance(groups, list | None) or not all(isinstance(group, dict) for group in groups or []):
        raise bad_field("stream.nodeGroups", "must be a list of objects")
    for place, node in enumerate(document["nodes"]):
        if not 1 <= len(node["id"]) <= MAX_NODE_ID:
            raise bad_field(f"stream.nodes[{place}].id", f"must have 1 to {MAX_NODE_ID} characters")
        if not isinstance(node.get("params"), dict | None):
            raise bad_field(f"stream.nodes[{place}].params", "must be an object")


async def _free_name(connection: AsyncConnection, account_id: UUID, name: str) -> str:
    """The name itself, or with the next free number behind it."""
    match = _NUMBERED.fullmatch(name)
    assert match is not None, "matches every text"
    candidate, number = name, int(match[2] or 0)
    while await store.lock_stream(connection, account_id, candidate) is not None:
        number += 1
        suffix = f" ({number})"
        candidate = match[1][: MAX_NAME - len(suffix)] + suffix
    return candidate


async def _require_same_nodes(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, document: Mapping[str, Any], wanted: Import
) -> None:
    """Replacing must not lose functions by accident, nor those whose records wait in Data correction."""
    latest = await store.find_version(connection, account_id, stream_id, None)
    if latest is None:
        return
    before = {node["id"]: node.get("name") for node in decode_json(latest["document"].encode())["nodes"]}
    lost = before.keys() - {node["id"] for node in document["nodes"]}
    if lost and not wanted.allow_node_deletions:
        raise ConflictError(f"the import would delete {_listed(before, lost)}: set allowNodeDeletions")
    kept = lost & await correction_store.functions_with_records(connection, account_id, stream_id)
    if kept:
        raise ConflictError(
            f"the import would delete {_listed(before, kept)}, which have records in Data correction:"
            " requeue or delete them first"
        )


def _listed(names: Mapping[str, Any], node_ids: Iterable[str]) -> str:
    return ", ".join(sorted(str(names[node_id] or node_id) for node_id in node_ids))


async def _name_nodes(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, document: Mapping[str, Any]
) -> None:
    """Meter keys and store ids are made once for a node and stay; a key in the document is taken if it is free."""
    named = {(row["node_id"], _type(row)) for row in await run_store.named_nodes(connection, account_id, stream_id)}
    for node in document["nodes"]:
        node_id, kind = node["id"], node["type"]
        if (node_id, kind) in named or kind not in (METER, AGGREGATE):
            continue
        await run_store.forget_name(connection, account_id, stream_id, node_id)  # of a function of the other type
        if kind == METER:
            carried = (node.get("params") or {}).get("meterKey")
            keys = [carried] if isinstance(carried, str) and 1 <= len(carried) <= 36 else []
            for key in [*keys, str(uuid4())]:
                if await run_store.name_node(connection, account_id, stream_id, node_id, {"meter_key": key}):
                    break
        else:
            names = {"store_id": store_id(stream_id, node_id)}
            await run_store.name_node(connection, account_id, stream_id, node_id, names)


def _type(named: RowMapping) -> str:
    return AGGREGATE if named["meter_key"] is None else METER


async def describe(connection: AsyncConnection, account_id: UUID, stream_id: UUID, name: str) -> dict[str, Any]:
    """What an import answers."""
    present = await store.present_nodes(connection, account_id, stream_id)
    rows = await run_store.named_nodes(connection, account_id, stream_id)
    named = [row for row in rows if present.get(row["node_id"]) == _type(row)]
    return {
        "id": stream_id,
        "name": name,
        "meterKeys": {row["node_id"]: row["meter_key"] for row in named if row["meter_key"]},
        "aggregationStores": {row["node_id"]: row["store_id"] for row in named if row["store_id"]},
    }


class ImportBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The stream's own text is kept raw: it comes back to the letter."""

    stream: msgspec.Raw
    conflict_strategy: Strategy | None = None
    allow_node_deletions: bool = False
    tag: str | None = None
    description: str | None = None


def read_import(body: bytes, *, created_by: str) -> Import:
    decode_json(body)  # broken JSON and repeated members are told as everywhere
    try:
        read = msgspec.json.decode(body, type=ImportBody)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise bad_field(path.rstrip("`") or "body", message) from None
    except msgspec.DecodeError:  # of all that decode_json lets pass it refuses only this
        raise bad_field("stream", "must not contain lone surrogates") from None
    if bytes(read.stream)[:1] != b"{":
        raise bad_field("stream", "must be an object")
    for name, text in (("tag", read.tag), ("description", read.description)):
        if text is not None and ("\x00" in text or not 1 <= len(text) <= MAX_NAME):
            raise bad_field(name, f"must have 1 to {MAX_NAME} characters")
    return Import(
        document=bytes(read.stream).decode(),
        strategy=read.conflict_strategy,
        allow_node_deletions=read.allow_node_deletions,
        tag=read.tag,
        description=read.description,
        created_by=created_by,
    )
