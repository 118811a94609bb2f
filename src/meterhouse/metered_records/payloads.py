"""JSON of metered records and of the statements of periods, out: member for member as it was stored."""

from typing import Any

import msgspec
from sqlalchemy import RowMapping

from meterhouse.rules.instants import format_milliseconds

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def record_json(row: RowMapping) -> dict[str, Any]:
    return {
        "cursor": str(row["record_no"]),
        "type": row["kind"],
        "recordedAt": format_milliseconds(row["recorded_at"]),
        "record": msgspec.Raw(row["record"].encode()),
    }


def period_json(row: RowMapping) -> dict[str, msgspec.Raw]:
    """The metered record and its statement as one object: what the statement's hash is of."""
    return _decode_members(row["record"]) | _decode_members(row["statement"])
