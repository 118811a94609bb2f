"""/usage-metering/v1/meters."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from meterhouse.conformance.expect import ABSENT, INSTANT_Z, UUID, Like, Only
from meterhouse.conformance.meter_types import DELETED, create_type, make_type
from meterhouse.conformance.meter_types import PATH as TYPES
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, StopWalkError, Walk, text_of, usage_engine_error

PATH = "/usage-metering/v1/meters"
ZONE = ZoneInfo("Europe/Berlin")


def meter_like(meter_type: dict[str, Any], body: dict[str, Any], **more: Any) -> Only:
    """The whole answer for what was sent: its type's values, a period that has begun, and no usage yet."""
    copied = {name: meter_type.get(name, ABSENT) for name in ("capacity", "timezone", "unit")}
    copied["thresholds"] = meter_type.get("thresholds", [])
    empty: dict[str, Any] = {name: Only({}) for name in ("carryFirst", "carryLast", "meterMetaData")}
    empty |= {"groupBreakdowns": [], "groups": [], "customFields": {}, "deleteOnReset": False, "value": 0}
    ours = {"id": UUID} | dict.fromkeys(("createdAt", "updatedAt", "periodStart", "periodEnd"), INSTANT_Z)
    named = {"meterTypeId": UUID, "meterTypeName": meter_type["name"]}
    asked = {name: value for name, value in body.items() if name != "externalRef"}
    return Only(copied | empty | ours | named | asked | more)


def walk_meters(walk: Walk) -> None:
    name = f"Conformance {walk.mark} meters"
    thresholds = [{"name": "half", "capacityPercentage": 50, "customFields": {"action": "EMAIL"}}]
    meter_type = make_type(name, capacity=1000, thresholds=thresholds, externalRef=f"ref-{walk.mark}-meters")
    rule = Rule(
        "create_meter_type", "a type with capacity and a threshold in percent", "Usage Engine, Create meter type"
    )
    type_id = create_type(walk, rule, meter_type)
    by_id: dict[str, Any] = {"meterKey": str(uuid4()), "meterTypeId": type_id, "userId": f"ann.{walk.mark}@example.com"}
    by_id["customFields"] = {"brand": "HP", "freeUnits": 100}
    meter_id = _creations(walk, meter_type, by_id)
    _refusals(walk, by_id)
    _reads(walk, type_id, by_id, meter_id)
    _updates(walk, meter_type, by_id, meter_id)
    _types_with_meters(walk, type_id, meter_id)
    rule = Rule("delete_meter", "tells how many it deleted", "Usage Engine, Delete meter")
    walk.check(rule, walk.call("DELETE", f"{PATH}/{meter_id}"), DELETED)
    for method, operation in (("GET", "get_meter"), ("DELETE", "delete_meter"), ("PATCH", "update_meter")):
        rule = Rule(operation, "what is gone is not found", "Usage Engine, 404 Not found")
        how = {"json": {"deleteOnReset": True}} if method == "PATCH" else {}
        walk.check(rule, walk.call(method, f"{PATH}/{meter_id}", **how), usage_engine_error(404))


def _creations(walk: Walk, meter_type: dict[str, Any], by_id: dict[str, Any]) -> str:
    rule = Rule(
        "create_meter", "takes over what its type has at that moment", "Usage Engine, Create meter; Managing meters"
    )
    made = walk.check(rule, walk.call("POST", PATH, json=by_id), Answer(201, meter_like(meter_type, by_id)))
    meter_id = text_of(made, "id")
    walk.delete_later(f"{PATH}/{meter_id}")
    rule = Rule(
        "create_meter",
        "its first period is from now to the next reset in its zone",
        "Usage Engine, Managing meters with the API",
    )
    start, end = (_instant(made, member) for member in ("periodStart", "periodEnd"))
    local = start.astimezone(ZONE)
    following = (local.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    wrong = [] if start == _instant(made, "createdAt") else ["it does not begin when the meter was created"]
    wrong += [] if end == following else [f"it ends {end.isoformat()}"]
    walk.note(rule, wrong, f"createdAt to {following.isoformat()}", f"until {end.isoformat()}")

    rule = Rule(
        "create_meter",
        "the type can be named by its external reference",
        "Usage Engine, Create meter type: externalRef",
    )
    by_reference = {
        "meterKey": by_id["meterKey"],
        "externalRef": meter_type["externalRef"],
        "userId": f"bob.{walk.mark}",
    }
    made = walk.check(
        rule, walk.call("POST", PATH, json=by_reference), Answer(201, meter_like(meter_type, by_reference))
    )
    walk.delete_later(f"{PATH}/{text_of(made, 'id')}")
    return meter_id


def _instant(body: dict[str, Any], member: str) -> datetime:
    text = text_of(body, member)
    if not INSTANT_Z.holds(text):
        raise StopWalkError(f"{member} is no instant: {text}")
    return datetime.fromisoformat(text)


def _refusals(walk: Walk, by_id: dict[str, Any]) -> None:
    rule = Rule("create_meter", "one meter for a key, a type and a user", "Usage Engine, 409 Conflict; Meterhouse")
    walk.check(rule, walk.call("POST", PATH, json=by_id), usage_engine_error(409))
    other = by_id | {"userId": f"eve.{walk.mark}"}
    for field in ("meterKey", "meterTypeId", "userId"):
        rule = Rule("create_meter", f"{field} is required", "Usage Engine, Create meter: required")
        body = {name: value for name, value in other.items() if name != field}
        walk.check(rule, walk.call("POST", PATH, json=body), usage_engine_error(400, field))
    for behaviour, field, changes in (
        ("meterKey has at most 36 characters", "meterKey", {"meterKey": "k" * 37}),
        ("userId has at most 320 characters", "userId", {"userId": "u" * 321}),
        ("a type that there is not", "meterTypeId", {"meterTypeId": str(uuid4())}),
        ("a member that is not known", "value", {"value": 7}),
    ):
        rule = Rule("create_meter", f"refused, named: {behaviour}", "Usage Engine, Create meter: request body")
        walk.check(rule, walk.call("POST", PATH, json=other | changes), usage_engine_error(400, field))


def _reads(walk: Walk, type_id: str, by_id: dict[str, Any], meter_id: str) -> None:
    rule = Rule("get_meter", "is what was created", "Usage Engine, Get meter")
    walk.check(rule, walk.call("GET", f"{PATH}/{meter_id}"), Answer(200, {"id": meter_id} | by_id))
    rule = Rule("get_meter", "an unknown id is not found", "Usage Engine, 404 Not found")
    walk.check(rule, walk.call("GET", f"{PATH}/{uuid4()}"), usage_engine_error(404))
    both = Answer(200, Only({"meters": [{"id": meter_id}, {"userId": f"bob.{walk.mark}"}]}))
    for field, value in (("meterTypeId", type_id), ("meterKey", by_id["meterKey"])):
        rule = Rule("list_meters", f"{field} filters exactly, the oldest first", f"Usage Engine, List meters: {field}")
        walk.check(rule, walk.call("GET", PATH, params={field: value}), both)
    rule = Rule("list_meters", "filters combine", "Usage Engine, List meters: meterTypeId, userId")
    one = Answer(200, Only({"meters": [{"id": meter_id}]}))
    walk.check(rule, walk.call("GET", PATH, params={"meterTypeId": type_id, "userId": by_id["userId"]}), one)
    rule = Rule("list_meters", "part of a user id finds nothing", "Usage Engine, List meters: userId")
    none = Answer(200, Only({"meters": []}))
    walk.check(rule, walk.call("GET", PATH, params={"meterTypeId": type_id, "userId": walk.mark}), none)
    rule = Rule("list_meters", "limit and skip", "Usage Engine, List meters: limit, skip")
    second = {"meterTypeId": type_id, "limit": "1", "skip": "1"}
    walk.check(
        rule, walk.call("GET", PATH, params=second), Answer(200, Only({"meters": [{"userId": f"bob.{walk.mark}"}]}))
    )
    rule = Rule("list_meters", "limit=101 is refused", "Usage Engine, List meters: limit")
    walk.check(rule, walk.call("GET", PATH, params={"limit": "101"}), usage_engine_error(400, "limit"))


def _updates(walk: Walk, meter_type: dict[str, Any], by_id: dict[str, Any], meter_id: str) -> None:
    path = f"{PATH}/{meter_id}"
    changed = {"capacity": 20, "deleteOnReset": True, "customFields": {"plan": "gold"}}
    changed["thresholds"] = [{"name": "all", "capacityPercentage": 100, "customFields": {}}]
    later = meter_like(meter_type, by_id, id=meter_id, **changed)
    rule = Rule(
        "update_meter",
        "capacity, custom fields, thresholds and deleteOnReset are replaced",
        "Usage Engine, Update meter",
    )
    walk.check(rule, walk.call("PATCH", path, json=changed), Answer(200, later))
    for behaviour, field, body in (
        ("the value cannot be set", "value", {"value": 7}),
        ("the user cannot be changed", "userId", {"userId": "eve"}),
        ("capacity is at least 0", "capacity", {"capacity": -1}),
        ("an empty body is refused", None, {}),
    ):
        rule = Rule("update_meter", behaviour, "Usage Engine, Update meter: request body")
        walk.check(rule, walk.call("PATCH", path, json=body), usage_engine_error(400, field))
    rule = Rule("get_meter", "what was refused changed nothing", "Usage Engine, 400 Bad request")
    walk.check(rule, walk.call("GET", path), Answer(200, later))


def _types_with_meters(walk: Walk, type_id: str, meter_id: str) -> None:
    rule = Rule("get_meter_type", "counts its meters", "Usage Engine, Get meter type: numberOfMeters")
    walk.check(rule, walk.call("GET", f"{TYPES}/{type_id}"), Answer(200, {"numberOfMeters": 2}))
    rule = Rule("delete_meter_type", "is refused while there are meters", "Usage Engine, Delete meter type")
    walk.check(rule, walk.call("DELETE", f"{TYPES}/{type_id}"), usage_engine_error(409))
    rule = Rule(
        "update_meter_type", "a meter keeps the capacity it was created with", "Usage Engine, Concepts: meters inherit"
    )
    walk.call("PATCH", f"{TYPES}/{type_id}", json={"capacity": 5})
    kept = Like("20, not 5", lambda value: value == 20)
    rule = Rule("get_meter", rule.behaviour, rule.source)
    walk.check(rule, walk.call("GET", f"{PATH}/{meter_id}"), Answer(200, {"capacity": kept}))
