"""The surface of the API as the program has it: routes, rows, what the framework tells, and who reads each body."""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, TypeAdapter

from meterhouse.access import payloads as access
from meterhouse.access.operations import BUCKET_SCOPES, OPERATIONS
from meterhouse.buckets import ingest, questions
from meterhouse.buckets import payloads as buckets
from meterhouse.buckets.ingest import MAX_EVENTS
from meterhouse.collectors import payloads as collectors
from meterhouse.meter_types import payloads as meter_types
from meterhouse.meters import payloads as meters
from meterhouse.rules import events
from meterhouse.streams import correction_payloads, imports, secrets

from .surface import Surface, members_of

Said = dict[str, dict[str, Any]]


def by_hand(required: tuple[str, ...] = (), optional: tuple[str, ...] = (), *, closed: bool = False) -> dict[str, Any]:
    """A body that code reads member by member: the names are the program's own, the rest is in the documents alone."""
    properties: dict[str, Any] = {name: {} for name in (*required, *optional)}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": not closed}


QUERY = (*questions._LISTS, *questions._TEXTS, *questions._FILTERS)

BODIES: dict[str, Any] = {
    "create_access_token": by_hand(("audience", "grant_type"), ("client_id", "client_secret", "scope")),
    "create_meter_type": meter_types.MeterTypeCreate,
    "update_meter_type": meter_types.MeterTypeUpdate,
    "create_meter": meters.MeterCreate,
    "update_meter": meters.MeterUpdate,
    "create_collector": collectors.CollectorBody,
    "update_collector": collectors.CollectorBody,
    "send_data": by_hand(("data",), closed=True),
    "import_stream": imports.ImportBody,
    "create_secret": secrets.AnySecret,
    "correct_rejected_records": correction_payloads.CorrectionBody,
    "requeue_rejected_records": correction_payloads.ChoiceBody,
    "delete_rejected_records": correction_payloads.ChoiceBody,
    "create_bucket": buckets.BucketCreate,
    "create_bucket_meter": buckets.MeterCreate,
    "update_bucket_meter": buckets.MeterUpdate,
    "query_bucket_meter_post": by_hand((), QUERY),
    "ingest_events": by_hand(events.REQUIRED, ("time", "data", "datacontenttype", "dataschema")),
    "create_customer": buckets.CustomerBody,
    "update_customer": buckets.CustomerBody,
    "create_portal_token": buckets.PortalTokenCreate,
}
"""Row → who reads its body. An operation with a body and no line here is a difference."""

MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "create_access_token": ("application/json", "application/x-www-form-urlencoded"),
    "ingest_events": (ingest._ONE, ingest._MANY, ingest._EITHER),
}
"""Row → what its body can be, where that is not JSON alone."""

OPTIONAL_BODIES = {"create_bucket", "query_bucket_meter_post"}

PARAMETERS: dict[str, tuple[str, ...]] = {
    "query_bucket_meter": tuple(f"query {name}" for name in QUERY),
    "query_portal_meter": tuple(
        f"query {name}" for name in QUERY if name not in ("subject", "filterCustomerId", "advancedMeterGroupByFilters")
    ),
    "list_bucket_meter_group_by_values": ("query from", "query to"),
    "list_bucket_meter_subjects": ("query from", "query to"),
    "ingest_events": ("query partial", "header Prefer"),
}
"""Row → what its route reads from the request by itself, where the framework does not see it."""

# Where no path names the bucket, a header can.
_WITHOUT_BUCKET = {"list_portal_tokens", "invalidate_portal_tokens", "query_portal_meter"}

_TEXTS = {"list_meter_types", "list_meters"}
"""Where the seed's documents call `limit` and `skip` texts of digits."""

_CHECKED_TEXTS = """
    name description category externalRef meterTypeExternalRef unit meterKey userId timezone minute hour day month weekday
    error nodeId tag limit skip id [] audience clientId clientSecret username password token tokenUrl scope groupBy* valueProperty
"""
_SAID_BY_CODE = {
    # Control characters, names, crontab fields, JSONPaths: functions read them.
    "pattern": set(_CHECKED_TEXTS.split()),
    "maxLength": {"minute", "hour", "day", "month", "weekday", "limit", "skip", "groupBy*", "valueProperty"},
    # Lists know by which fields they can be sorted, updates that they want a member.
    "enum": {"sortBy"},
    "default": {"sortBy"},
    "minProperties": {"", "filter"},
}
_DIFFERENT = {
    ("lookup_aggregation_session", "id", "minLength"),
    *(
        (row, "tag", f"{side}Length")
        for row in ("deploy_stream", "start_stream", "import_stream")
        for side in ("min", "max")
    ),
    *((("import_stream", "description", f"{side}Length")) for side in ("min", "max")),
    ("export_stream", "tag", "maxLength"),
    # What waits already cannot be made to wait again: that is refused, in words.
    ("requeue_rejected_records", "filter.status", "enum"),
}


_OTHER_WAYS: dict[str, dict[str, list[str]]] = {
    "create_access_token": {"": [], "clientBasic": []},
    "query_portal_meter": {"portalToken": []},
}


def excused(row: str, member: str, what: str, known: dict[str, Any]) -> bool:
    """Whether the documents may say it alone, because code checks it that tells the framework nothing."""
    if what == "nullable":
        # A member that may be left out is None in Python then; whether null is taken from a client, code says.
        return "nullable" in known
    last = "[]" if member.endswith("[]") else member.rpartition(".")[2]
    return (row, member, what) in _DIFFERENT or (what not in known and last in _SAID_BY_CODE.get(what, ()))


OPEN = {"livez", "readyz", "metrics", "get_jwks", "get_openid_configuration"}


def programmed(app: FastAPI) -> Surface:
    told = get_openapi(title="", version="", routes=app.router.routes)
    surface: Surface = {}
    for route in iter_route_contexts(app.router.routes):
        assert route.path is not None
        for method in (route.methods or set()) - {"HEAD"}:
            if is_page(route.path):
                continue
            row = OPERATIONS.get(route.name)
            framework = told["paths"].get(route.path, {}).get(method.lower(), {})
            surface[f"{method} {route.path}"] = {
                "row": route.name,
                "security": _security(route.name),
                "rate": [row.rate.requests, row.rate.window_seconds, row.rate.burst] if row else None,
                "parameters": _parameters(route.name, route.path, framework, told),
                "mediaTypes": sorted(bodies := _bodies(route.name)),
                "bodyRequired": bool(bodies) and route.name not in OPTIONAL_BODIES,
                "bodies": bodies,
            }
    return surface


def _security(name: str) -> dict[str, list[str]]:
    """Access tokens open everything, API keys what is in buckets."""
    scope = OPERATIONS[name].scope if name in OPERATIONS else None
    if scope is None:
        return _OTHER_WAYS.get(name, {})
    return {scheme: [scope] for scheme in ("accessToken", *(["apiKey"] if scope in BUCKET_SCOPES else []))}


def is_page(path: str) -> bool:
    """The documents and their pages: no document tells of them."""
    return path == "/" or path.startswith(("/reference/", "/openapi/"))


def _parameters(row: str, path: str, framework: dict[str, Any], told: dict[str, Any]) -> dict[str, Said]:
    found: dict[str, Said] = {}
    for part in path.split("/"):
        if part.startswith("{"):
            found[f"path {part[1:-1]}"] = {"": {"required": True}}
    for parameter in framework.get("parameters", []):
        said = members_of(
            parameter["schema"], lambda reference: told["components"]["schemas"][reference.rpartition("/")[2]]
        )
        # A parameter cannot be null: where its reader allows it, that is how it says that it is not there.
        said = {at: {name: value for name, value in what.items() if name != "nullable"} for at, what in said.items()}
        found[f"{parameter['in']} {parameter['name']}"] = said | {"": said[""] | {"required": parameter["required"]}}
    for name in ("query limit", "query skip") if row in _TEXTS else ():
        default = found[name][""]["default"]
        found[name] = {"": {"type": "string", "default": str(default), "required": False}}
    for name in PARAMETERS.get(row, ()):
        found[name] = {"": {"required": False}}
    if path.startswith(("/api/v1/", "/api/v2/")) and row not in _WITHOUT_BUCKET:
        found["header X-Bucket-Id"] = {"": {"required": False}}
    return found


def _bodies(row: str) -> dict[str, Said]:
    if row not in BODIES:
        return {}
    body = _members(BODIES[row])
    read = dict.fromkeys(MEDIA_TYPES.get(row, ("application/json",)), body)
    if row == "ingest_events":
        events = {"": {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS}} | {
            f"[].{member}" if member else "[]": said for member, said in body.items()
        }
        read["application/cloudevents-batch+json"] = events
        read["application/json"] = body | events | {"": {"type": ["array", "object"]}}
    return read


def _members(reader: Any) -> Said:
    if isinstance(reader, dict):
        return members_of(reader, lambda _: {})
    if isinstance(reader, type) and issubclass(reader, msgspec.Struct):
        schema = msgspec.json.schema(reader)
    elif isinstance(reader, type) and issubclass(reader, BaseModel):
        schema = reader.model_json_schema(by_alias=True)
    else:
        schema = TypeAdapter(reader).json_schema(by_alias=True)
    return members_of(schema, lambda reference: schema["$defs"][reference.rpartition("/")[2]])


# The members of a token request are read by name; these are the names.
assert set(access._MEMBERS) | {"scope"} == set(BODIES["create_access_token"]["properties"])
