"""JSON of streams, out: an exported document and the lines of the version list (reference: usage-engine 1.7)."""

from typing import Any

import msgspec
from sqlalchemy import RowMapping

from meterhouse.rules.instants import format_milliseconds

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def export_json(row: RowMapping) -> bytes:
    """The document as it was imported, to the letter, under the stream's present name and the version's tag.

    The autosaved version's tag is null. A description given with the version goes before the document's own.
    """
    members = _decode_members(row["document"])
    members["name"] = _raw(row["name"])
    members["tag"] = _raw(row["tag"])
    if row["description"] is not None:
        members["description"] = _raw(row["description"])
    return _encode(members)


def version_json(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "tag": row["tag"],
        "description": row["description"],
        "createdAt": format_milliseconds(row["created_at"]),
        "updatedAt": format_milliseconds(row["updated_at"]),
        "createdBy": row["created_by"],
        "autosaved": row["tag"] is None,
        "deployed": row["deployed"],
        "scheduled": row["scheduled"],
    }
