"""/online-collection/v1/collectors."""

from typing import Any
from uuid import uuid4

from meterhouse.conformance.expect import INSTANT_Z, UUID, WHOLE_NUMBER, Only, one_of
from meterhouse.conformance.meter_types import DELETED
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, StopWalkError, Walk, read_body, text_of, usage_engine_error

PATH = "/online-collection/v1/collectors"
MAX_COLLECTORS = 5
STORED = Answer(202, Only({"ingestionId": UUID}))


def collector_like(name: str) -> Only:
    return Only({"id": UUID, "name": name, "status": "ACTIVE", "createdAt": INSTANT_Z, "updatedAt": INSTANT_Z})


def create_collector(walk: Walk, name: str) -> str:
    """Its id."""
    rule = Rule("create_collector", "a name makes a collector", "Usage Engine, Create collector")
    response = walk.call("POST", PATH, json={"name": name})
    if response.status_code == 409:
        walk.skip(rule, "the account has its five collectors already")
        raise StopWalkError("no collector can be made: delete one")
    made = walk.check(rule, response, Answer(201, collector_like(name)))
    collector_id = text_of(made, "id")
    walk.delete_later(f"{PATH}/{collector_id}")
    return collector_id


def walk_collectors(walk: Walk) -> None:
    name = f"Conformance {walk.mark}"
    collector_id = create_collector(walk, name)
    _refusals(walk, name)
    _reads(walk, name, collector_id)
    _updates(walk, collector_id, f"{name} renamed")
    _sends(walk, collector_id)
    _no_sixth(walk, name)
    rule = Rule("delete_collector", "tells how many it deleted", "Usage Engine, Delete collector")
    walk.check(rule, walk.call("DELETE", f"{PATH}/{collector_id}"), DELETED)
    for method, operation, suffix, how in (
        ("GET", "get_collector", "", {}),
        ("PATCH", "update_collector", "", {"json": {"name": name}}),
        ("DELETE", "delete_collector", "", {}),
        ("POST", "send_data", "/send", {"json": {"data": {}}}),
    ):
        rule = Rule(operation, "what is gone is not found", "Usage Engine, 404 Not found")
        walk.check(rule, walk.call(method, f"{PATH}/{collector_id}{suffix}", **how), usage_engine_error(404))


def _refusals(walk: Walk, name: str) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("name is required", {}),
        ("name has at most 50 characters", {"name": "x" * 51}),
    ]
    for behaviour, body in wrong:
        rule = Rule("create_collector", behaviour, "Usage Engine, Create collector: name")
        walk.check(rule, walk.call("POST", PATH, json=body), usage_engine_error(400, "name"))
    rule = Rule("create_collector", "a name that is taken is refused", "Usage Engine, 409 Conflict; Meterhouse")
    walk.check(rule, walk.call("POST", PATH, json={"name": name}), usage_engine_error(409))


def _reads(walk: Walk, name: str, collector_id: str) -> None:
    rule = Rule("get_collector", "is what was created", "Usage Engine, Get collector")
    walk.check(rule, walk.call("GET", f"{PATH}/{collector_id}"), Answer(200, collector_like(name)))
    rule = Rule("get_collector", "an unknown id is not found", "Usage Engine, 404 Not found")
    walk.check(rule, walk.call("GET", f"{PATH}/{uuid4()}"), usage_engine_error(404))
    rule = Rule("list_collectors", "is a page that tells its limit, skip and total", "Usage Engine, List collectors")
    here = one_of("a list with the collector", {"id": collector_id})
    page = {"limit": 100, "skip": 0, "total": WHOLE_NUMBER, "collectors": here}
    walk.check(rule, walk.call("GET", PATH, params={"limit": 100}), Answer(200, Only(page)))
    rule = Rule(
        "list_collectors",
        "the newest first unless asked otherwise",
        "Usage Engine, List collectors: sortBy; Meterhouse",
    )
    first = Answer(200, {"collectors": [{"id": collector_id}], "limit": 1})
    walk.check(rule, walk.call("GET", PATH, params={"limit": 1}), first)
    for field, value in (("limit", "101"), ("sortOrder", "UP"), ("sortBy", "colour")):
        rule = Rule("list_collectors", f"{field}={value} is refused", f"Usage Engine, List collectors: {field}")
        walk.check(rule, walk.call("GET", PATH, params={field: value}), usage_engine_error(400, field))


def _updates(walk: Walk, collector_id: str, name: str) -> None:
    rule = Rule("update_collector", "the name changes", "Usage Engine, Update collector")
    walk.check(
        rule, walk.call("PATCH", f"{PATH}/{collector_id}", json={"name": name}), Answer(200, collector_like(name))
    )
    rule = Rule("update_collector", "an empty body is refused", "Usage Engine, Update collector: non-empty")
    walk.check(rule, walk.call("PATCH", f"{PATH}/{collector_id}", json={}), usage_engine_error(400))


def _sends(walk: Walk, collector_id: str) -> None:
    path = f"{PATH}/{collector_id}/send"
    for behaviour, data in (("an object is taken", {"userId": "ann", "value": 1}), ("a text is taken", '{"value": 1}')):
        rule = Rule("send_data", behaviour, "Usage Engine, Send data: data is a string or an object")
        walk.check(rule, walk.call("POST", path, json={"data": data}), STORED)
    wrong: list[tuple[str, str, dict[str, Any]]] = [
        ("data is required", "data", {}),
        ("data is no list", "data", {"data": [{"value": 1}]}),
        ("a member that is not known is refused", "more", {"data": {}, "more": 1}),
    ]
    for behaviour, field, body in wrong:
        rule = Rule("send_data", behaviour, "Usage Engine, Send data: request body")
        walk.check(rule, walk.call("POST", path, json=body), usage_engine_error(400, field))
    rule = Rule(
        "send_data", "more than a mebibyte is refused", "Usage Engine, 413; Online collection: 1 MB per request"
    )
    large = {"data": {"text": "x" * 1024 * 1024}}
    walk.check(rule, walk.call("POST", path, json=large), usage_engine_error(413))


def _no_sixth(walk: Walk, name: str) -> None:
    """Fills the account's places for a moment."""
    for number in range(1, MAX_COLLECTORS + 1):
        response = walk.call("POST", PATH, json={"name": f"{name} {number}"})
        if response.status_code != 201:
            break
        walk.delete_later(f"{PATH}/{text_of(read_body(response), 'id')}")
    rule = Rule("create_collector", "an account has at most five", "Usage Engine, Create collector")
    walk.check(rule, response, usage_engine_error(409))
