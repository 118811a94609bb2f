"""JSON of collectors, in and out, and what may be sent to them (reference: usage-engine 1.6, 3)."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping

from meterhouse.errors import BadRequestError, FieldError, bad_field, bad_fields
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.storable import is_suspect, storable, why_unstorable
from meterhouse.wire import decode_json

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class CollectorBody(BaseModel):
    """Of create and update alike: the name is all that can be chosen or changed."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Annotated[str, AfterValidator(storable), Field(min_length=1, max_length=50)]


def collector_json(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "status": "ACTIVE",  # the product's other states belong to set-up work that does not exist here
        "createdAt": format_milliseconds(row["created_at"]),
        "updatedAt": format_milliseconds(row["updated_at"]),
    }


def ingestion_json(row: RowMapping, readers: Sequence[RowMapping], rejections: Sequence[RowMapping]) -> dict[str, Any]:
    """STORED until a stream has read it; then by which runs, and which of its records were rejected and why."""
    body = {
        "ingestionId": row["ingestion_id"],
        "collectorId": row["collector_id"],
        "receivedAt": format_milliseconds(row["received_at"]),
        "status": "PROCESSED" if readers else "STORED",
    }
    if not readers:
        return body
    return body | {
        "processedBy": [{"streamId": one["stream_id"], "runId": one["run_id"]} for one in readers],
        "rejected": [{name: one[column] for name, column in _REJECTED.items()} for one in rejections],
    }


_REJECTED = {"streamId": "stream_id", "nodeId": "node_id", "nodeName": "node_name", "error": "error"}


def read_data(body: bytes) -> str:
    """The JSON text of `data`, an object or a string, exactly as it was sent. Raises BadRequestError."""
    try:
        members = _decode_members(body)
    except msgspec.ValidationError:
        raise BadRequestError("the request body must be a JSON object") from None
    except RecursionError:
        raise BadRequestError("the body is nested too deeply") from None
    except msgspec.DecodeError:
        decode_json(body)  # says what is wrong; it lets pass only this:
        raise bad_field("data", "must not contain lone surrogates") from None
    unknown = [FieldError(name, "is not a known member") for name in members if name != "data"]
    if unknown:
        raise bad_fields(unknown)
    if "data" not in members:
        raise bad_field("data", "is required")
    data = bytes(members["data"])
    if data[:1] not in (b"{", b'"'):
        raise bad_field("data", "must be a JSON object or a string")
    if is_suspect(body):
        _require_storable(data)
    decode_json(body)  # finds what the quick reader lets pass: members that stand twice, bytes that are not UTF-8
    return data.decode()


def _require_storable(data: bytes) -> None:
    try:
        reason = why_unstorable(data)
    except RecursionError:
        raise bad_field("data", "is nested too deeply") from None
    except ValueError as error:
        raise bad_field("data", str(error)) from None
    if reason is not None:
        raise bad_field("data", reason)
