"""/usage-metering/v1/meter-types."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from meterhouse.conformance.expect import ABSENT, INSTANT_OFFSET, UUID, Only
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, Walk, text_of, usage_engine_error

PATH = "/usage-metering/v1/meter-types"
SCHEDULE = {"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"}
DELETED = Answer(200, Only({"deletedCount": 1}))


def make_type(name: str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "unit": "requests", "aggregation": {"type": "sum"}, "timezone": "Europe/Berlin"}
    return body | {"resetSchedule": SCHEDULE} | more


def type_like(body: dict[str, Any], **more: Any) -> Only:
    """The whole answer for what was sent."""
    defaults = {"category": "DEFAULT", "thresholds": [], "activeFrom": INSTANT_OFFSET, "numberOfMeters": 0}
    ours = {"id": UUID, "accountId": UUID, "createdAt": INSTANT_OFFSET, "updatedAt": INSTANT_OFFSET}
    return Only(defaults | ours | body | more)


def create_type(walk: Walk, rule: Rule, body: dict[str, Any]) -> str:
    """Its id."""
    made = walk.check(rule, walk.call("POST", PATH, json=body), Answer(201, type_like(body)))
    type_id = text_of(made, "id")
    walk.delete_later(f"{PATH}/{type_id}")
    return type_id


def walk_meter_types(walk: Walk) -> None:
    name = f"Conformance {walk.mark}"
    plain, full = make_type(name), _full(walk)
    rule = Rule("create_meter_type", "what is left out has its default", "Usage Engine, Create meter type")
    plain_id = create_type(walk, rule, plain)
    rule = Rule("create_meter_type", "every member that was sent comes back", "Usage Engine, Create meter type")
    full_id = create_type(walk, rule, full)
    _refusals(walk, name, full)
    _reads(walk, name, plain, plain_id)
    _updates(walk, name, full, full_id)
    _deletion(walk, plain_id)


def _full(walk: Walk) -> dict[str, Any]:
    thresholds = [
        {"name": "half", "capacityPercentage": 50, "customFields": {"action": "EMAIL"}},
        {"name": "many", "absoluteValue": Decimal("750.5"), "customFields": {}},
    ]
    more = {
        "capacity": 1000,
        "category": f"C {walk.mark}",
        "description": "Number of requests",
        "thresholds": thresholds,
    }
    return make_type(f"Conformance {walk.mark} full", externalRef=f"ref-{walk.mark}", **more)


def _refusals(walk: Walk, name: str, full: dict[str, Any]) -> None:
    source = "Usage Engine, Create meter type: name is unique"
    rule = Rule("create_meter_type", "a name that is taken is refused", source)
    walk.check(rule, walk.call("POST", PATH, json=make_type(name)), usage_engine_error(409))
    rule = Rule(
        "create_meter_type",
        "an external reference that is taken is refused",
        "Usage Engine, Create meter type: externalRef is unique",
    )
    taken = make_type(f"{name} other", externalRef=full["externalRef"])
    walk.check(rule, walk.call("POST", PATH, json=taken), usage_engine_error(409))
    wrong: dict[str, tuple[str, dict[str, Any]]] = {
        "name: [\\w\\s().-] alone": ("name", {"name": f"{name} <b>"}),
        "name has at most 80 characters": ("name", {"name": "x" * 81}),
        "unit has at most 50 characters": ("unit", {"unit": "x" * 51}),
        "timezone is an IANA name": ("timezone", {"timezone": "Europe/Nowhere"}),
        "resetSchedule has crontab's form": ("resetSchedule", {"resetSchedule": SCHEDULE | {"minute": "61"}}),
        "aggregation is sum, increment, max or min": ("aggregation", {"aggregation": {"type": "average"}}),
        "capacity is at least 0": ("capacity", {"capacity": -1}),
        "at most five thresholds": (
            "thresholds",
            {"thresholds": [{"name": f"t{n}", "absoluteValue": n} for n in range(6)]},
        ),
        "a member that is not known": ("surprise", {"surprise": 1}),
    }
    for behaviour, (field, changes) in wrong.items():
        rule = Rule(
            "create_meter_type", f"refused, named: {behaviour}", "Usage Engine, Create meter type: request body"
        )
        answer = walk.call("POST", PATH, json=make_type(f"{name} wrong") | changes)
        walk.check(rule, answer, usage_engine_error(400, field))
    for field in ("name", "unit", "timezone", "aggregation", "resetSchedule"):
        rule = Rule("create_meter_type", f"{field} is required", "Usage Engine, Create meter type: required")
        body = {member: value for member, value in make_type(f"{name} wrong").items() if member != field}
        walk.check(rule, walk.call("POST", PATH, json=body), usage_engine_error(400, field))


def _reads(walk: Walk, name: str, plain: dict[str, Any], plain_id: str) -> None:
    rule = Rule("get_meter_type", "is what was created", "Usage Engine, Get meter type")
    walk.check(rule, walk.call("GET", f"{PATH}/{plain_id}"), Answer(200, type_like(plain, id=plain_id)))
    rule = Rule("get_meter_type", "an unknown id is not found", "Usage Engine, 404 Not found")
    walk.check(rule, walk.call("GET", f"{PATH}/{uuid4()}"), usage_engine_error(404))
    rule = Rule(
        "list_meter_types", "part of a name finds it, the best match first", "Usage Engine, List meter types: name"
    )
    found = Answer(200, Only({"meterTypes": [{"id": plain_id}, {"name": f"{name} full"}]}))
    walk.check(rule, walk.call("GET", PATH, params={"name": name}), found)
    rule = Rule(
        "list_meter_types", "limit and skip are texts with numbers", "Usage Engine, List meter types: limit, skip"
    )
    second = {"name": name, "limit": "1", "skip": "1"}
    walk.check(
        rule, walk.call("GET", PATH, params=second), Answer(200, Only({"meterTypes": [{"name": f"{name} full"}]}))
    )
    rule = Rule(
        "list_meter_types", "sortBy and sortOrder order the list", "Usage Engine, List meter types: sortBy, sortOrder"
    )
    backwards = {"name": name, "sortBy": "name", "sortOrder": "DESC"}
    ordered = Answer(200, Only({"meterTypes": [{"name": f"{name} full"}, {"id": plain_id}]}))
    walk.check(rule, walk.call("GET", PATH, params=backwards), ordered)
    for field, value in (("limit", "101"), ("sortOrder", "UP"), ("sortBy", "colour")):
        rule = Rule("list_meter_types", f"{field}={value} is refused", f"Usage Engine, List meter types: {field}")
        walk.check(rule, walk.call("GET", PATH, params={field: value}), usage_engine_error(400, field))


def _updates(walk: Walk, name: str, full: dict[str, Any], full_id: str) -> None:
    path = f"{PATH}/{full_id}"
    rule = Rule("update_meter_type", "only what is sent changes", "Usage Engine, Update meter type")
    changed = {"description": "Changed", "capacity": Decimal("0.5")}
    walk.check(rule, walk.call("PATCH", path, json=changed), Answer(200, type_like(full | changed)))
    rule = Rule(
        "update_meter_type", "null takes the external reference away", "Usage Engine, Update meter type: string or null"
    )
    nulled = type_like(full | changed, externalRef=ABSENT)
    walk.check(rule, walk.call("PATCH", path, json={"externalRef": None}), Answer(200, nulled))
    for behaviour, field, body in (
        ("the aggregation cannot be changed", "aggregation", {"aggregation": {"type": "max"}}),
        ("a wrong value is refused and named", "timezone", {"timezone": "Mars/Phobos"}),
        ("an empty body is refused", None, {}),
    ):
        rule = Rule("update_meter_type", behaviour, "Usage Engine, Update meter type: request body")
        walk.check(rule, walk.call("PATCH", path, json=body), usage_engine_error(400, field))
    rule = Rule(
        "update_meter_type", "a name that is taken is refused", "Usage Engine, Create meter type: name is unique"
    )
    walk.check(rule, walk.call("PATCH", path, json={"name": name}), usage_engine_error(409))
    rule = Rule("get_meter_type", "what was refused changed nothing", "Usage Engine, 400 Bad request")
    walk.check(rule, walk.call("GET", path), Answer(200, nulled))


def _deletion(walk: Walk, plain_id: str) -> None:
    rule = Rule("delete_meter_type", "tells how many it deleted", "Usage Engine, Delete meter type")
    walk.check(rule, walk.call("DELETE", f"{PATH}/{plain_id}"), DELETED)
    rule = Rule("get_meter_type", "is gone when it was deleted", "Usage Engine, 404 Not found")
    walk.check(rule, walk.call("GET", f"{PATH}/{plain_id}"), usage_engine_error(404))
    rule = Rule("delete_meter_type", "what is gone cannot be deleted", "Usage Engine, 404 Not found")
    walk.check(rule, walk.call("DELETE", f"{PATH}/{plain_id}"), usage_engine_error(404))
