"""JSON of the bucket dialects, in and out: meters, customers, portal tokens."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from sqlalchemy import RowMapping

from meterhouse.rules.instants import parse_instant
from meterhouse.rules.jsonpath import parse_path
from meterhouse.rules.storable import storable
from meterhouse.wire import rfc3339

SLUG = r"^[a-z0-9]+(?:_[a-z0-9]+)*$"
GROUP_KEY = re.compile(r"[a-zA-Z_][0-9a-zA-Z_]*", re.ASCII)
MAX_GROUP_KEYS = 64
MAX_METADATA_MEMBERS = 50


def _path(text: str) -> str:
    parse_path(text)
    return text


def _group_keys(paths: dict[str, str]) -> dict[str, str]:
    for key in paths:
        if not GROUP_KEY.fullmatch(key) or len(key) > 64:
            raise ValueError(f"the key {key!r} must match ^[a-zA-Z_][0-9a-zA-Z_]*$ and have at most 64 characters")
    return paths


Text = Annotated[str, AfterValidator(storable)]
Instant = Annotated[Any, BeforeValidator(lambda value: parse_instant(_require_text(value)))]
Path = Annotated[Text, Field(min_length=1), AfterValidator(_path)]
GroupBy = Annotated[dict[str, Path], Field(max_length=MAX_GROUP_KEYS), AfterValidator(_group_keys)]
Metadata = Annotated[
    dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=1024)]],
    Field(max_length=MAX_METADATA_MEMBERS),
]
Name = Annotated[Text, Field(min_length=1, max_length=256)]
Description = Annotated[Text, Field(min_length=1, max_length=1024)]
SubjectKey = Annotated[Text, Field(min_length=1, max_length=256)]


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a date-time in RFC 3339 as text")  # noqa: TRY004 - pydantic reports ValueErrors
    return value


class _Body(BaseModel):
    # Members we do not know are ignored, as OpenMeter does: its clients send more than we read.
    model_config = ConfigDict(strict=True, alias_generator=to_camel, extra="ignore")


class BucketCreate(_Body):
    name: Annotated[Text, Field(min_length=1, max_length=256)] | None = None


class MeterUpdate(_Body):
    """PUT replaces: an omitted name becomes the slug, omitted groupBy and metadata are cleared, description stays."""

    name: Name | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    group_by: GroupBy | None = None


class MeterCreate(MeterUpdate):
    slug: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=SLUG)]
    aggregation: Literal["SUM", "COUNT", "UNIQUE_COUNT", "AVG", "MIN", "MAX", "LATEST"]
    event_type: Annotated[Text, Field(min_length=1, max_length=256)]
    event_from: Instant | None = None
    value_property: Path | None = None


class UsageAttribution(_Body):
    subject_keys: Annotated[list[SubjectKey], Field(max_length=1000)] = []


class CustomerBody(_Body):
    name: Name
    key: Annotated[Text, Field(min_length=1, max_length=256)] | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    primary_email: Annotated[Text, Field(max_length=320)] | None = None
    billing_address: dict[str, Text | None] | None = None
    usage_attribution: UsageAttribution | None = None


class PortalTokenCreate(_Body):
    subject: SubjectKey
    allowed_meter_slugs: Annotated[list[Text], Field(min_length=1, max_length=100)] | None = None
    expires_at: Instant | None = None


def bucket_json(row: RowMapping) -> dict[str, Any]:
    body = {
        "id": row["id"],
        "accountName": row["account_name"],
        "createdOn": rfc3339(row["created_at"]),
        "updatedOn": rfc3339(row["updated_at"]),
    }
    return body if row["name"] is None else body | {"name": row["name"]}


def meter_json(row: RowMapping) -> dict[str, Any]:
    """OpenMeter's Meter: metadata and annotations may be null, what is not set is left out."""
    body = {
        "id": row["id"],
        "createdAt": rfc3339(row["created_at"]),
        "updatedAt": rfc3339(row["updated_at"]),
        "slug": row["slug"],
        "name": row["name"],
        "description": row["description"],
        "aggregation": row["aggregation"],
        "eventType": row["event_type"],
        "eventFrom": rfc3339(row["event_from"]),
        "valueProperty": row["value_property"],
        "groupBy": row["group_by"] or None,
        "deletedAt": rfc3339(row["deleted_at"]),
    }
    return _set(body) | {"metadata": row["metadata"], "annotations": None}


def customer_json(row: RowMapping) -> dict[str, Any]:
    body = {
        "id": row["id"],
        "createdAt": rfc3339(row["created_at"]),
        "updatedAt": rfc3339(row["updated_at"]),
        "deletedAt": rfc3339(row["deleted_at"]),
        "name": row["name"],
        "key": row["key"],
        "description": row["description"],
        "currency": row["currency"],
        "primaryEmail": row["primary_email"],
        "billingAddress": row["billing_address"],
        "usageAttribution": {"subjectKeys": row["subject_keys"]},
    }
    return _set(body) | {"metadata": row["metadata"]}


def _set(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
