"""Importing a stream's document: checked, versioned, its nodes named (reference: usage engine 4.1, streams)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError, bad_field
from meterhouse.rules.storable import why_unstorable
from meterhouse.streams import run_store, store
from meterhouse.streams.function import StreamError
from meterhouse.streams.graph import read_graph
from meterhouse.wire import decode_json

MAX_NAME = 200
METER = "transforms/meter"
AGGREGATE = "transforms/script_aggregate"

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
        store.NewVersion(wanted.document, wanted.tag, wanted.description),
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
        candidate = f"{match[1]} ({number})"
    return candidate


async def _require_same_nodes(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, document: Mapping[str, Any], wanted: Import
) -> None:
    """Replacing must not lose functions by accident."""
    latest = await store.find_version(connection, account_id, stream_id, None)
    if latest is None or wanted.allow_node_deletions:
        return
    before = {node["id"]: node.get("name") for node in decode_json(latest["document"].encode())["nodes"]}
    lost = [before[node_id] for node_id in before.keys() - {node["id"] for node in document["nodes"]}]
    if lost:
        raise ConflictError(
            f"the import would delete {', '.join(map(str, sorted(lost, key=str)))}: set allowNodeDeletions"
        )


async def _name_nodes(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, document: Mapping[str, Any]
) -> None:
    """Meter keys and store ids are made once for a node and stay; a key in the document is taken if it is free."""
    named = {row["node_id"] for row in await run_store.named_nodes(connection, account_id, stream_id)}
    for node in document["nodes"]:
        if node["id"] in named:
            continue
        if node["type"] == METER:
            carried = (node.get("params") or {}).get("meterKey")
            keys = [carried] if isinstance(carried, str) and 1 <= len(carried) <= 36 else []
            for key in [*keys, str(uuid4())]:
                if await run_store.name_node(connection, account_id, stream_id, node["id"], {"meter_key": key}):
                    break
        elif node["type"] == AGGREGATE:
            store_id = sha1(f"{stream_id}:{node['id']}".encode(), usedforsecurity=False).hexdigest()
            await run_store.name_node(connection, account_id, stream_id, node["id"], {"store_id": store_id})


async def describe(connection: AsyncConnection, account_id: UUID, stream_id: UUID, name: str) -> dict[str, Any]:
    """What an import answers."""
    named = await run_store.named_nodes(connection, account_id, stream_id)
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


def read_import(body: bytes) -> Import:
    decode_json(body)  # broken JSON and repeated members are told as everywhere
    try:
        read = msgspec.json.decode(body, type=ImportBody)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise bad_field(path.rstrip("`") or "body", message) from None
    if bytes(read.stream)[:1] != b"{":
        raise bad_field("stream", "must be an object")
    for name, text in (("tag", read.tag), ("description", read.description)):
        if text is not None and ("\x00" in text or not 1 <= len(text) <= 200):
            raise bad_field(name, "must have 1 to 200 characters")
    return Import(
        bytes(read.stream).decode(), read.conflict_strategy, read.allow_node_deletions, read.tag, read.description
    )
