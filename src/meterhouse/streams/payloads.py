"""JSON of streams and their versions, in and out (reference: usage-engine 1.7, 4.1)."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import RowMapping

from meterhouse.paging import Page
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.storable import storable
from meterhouse.streams.store import Wanted

MAX_NAME = 200
"""Of streams, tags and descriptions."""

Text = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(storable)]

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


class StreamPage(Page):
    """Filters of the list, all of which must hold. A name's part is enough."""

    name: Annotated[str | None, Field(max_length=MAX_NAME), AfterValidator(storable)] = None
    collector_id: UUID | None = None
    meter_key: Annotated[str | None, Field(min_length=1, max_length=36), AfterValidator(storable)] = None
    aggregation_store_id: Annotated[str | None, Field(pattern=r"^[0-9a-f]{40}$")] = None

    def wanted(self) -> Wanted:
        return Wanted(self.name, self.collector_id, self.meter_key, self.aggregation_store_id)


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("must not be null")
    return value


class TagBody(BaseModel):
    """A description that is not given stays what it was."""

    model_config = ConfigDict(strict=True, extra="forbid")

    tag: Text
    description: Annotated[Text | None, BeforeValidator(_not_null)] = None

    def names(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.model_fields_set}


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
        "autosaved": row["autosaved"],
        "deployed": row["deployed"],
        "scheduled": row["scheduled"],
    }
