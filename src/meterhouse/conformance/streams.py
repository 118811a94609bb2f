"""From what is sent to a collector to the meter that moves; /stream-management/v1/streams and /aggregation/v1."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from meterhouse.conformance.collectors import PATH as COLLECTORS
from meterhouse.conformance.collectors import STORED, create_collector
from meterhouse.conformance.expect import ABSENT_OR_NULL, INSTANT_Z, OBJECT, UUID, Only, differences
from meterhouse.conformance.meter_types import create_type, make_type
from meterhouse.conformance.meters import PATH as METERS
from meterhouse.conformance.report import Rule
from meterhouse.conformance.target import DeployedStream
from meterhouse.conformance.walk import Answer, Walk, member_of, read_body, text_of, usage_engine_error, wait_until

PATH = "/stream-management/v1/streams"
PATIENCE_SECONDS = 60


def walk_streams(walk: Walk, deployed: DeployedStream | None) -> None:
    _unknown(walk)
    if deployed is not None:
        _moves(walk, "the deployed stream", deployed, "DEFAULT")
    category = f"C {walk.mark}"
    rule = Rule("import_stream", "a stream's document is taken", "Usage Engine, Importing streams; Meterhouse, Streams")
    collector_id = create_collector(walk, f"Conformance {walk.mark} stream")
    document = _document(walk.mark, collector_id, category)
    response = walk.call("POST", f"{PATH}/import", json={"stream": document})
    if response.status_code in (404, 405):
        walk.skip(rule, "this server has no import")
        return
    named = {"id": UUID, "name": document["name"], "meterKeys": Only({"meter": UUID})}
    made = walk.check(rule, response, Answer(201, named))
    stream_id = text_of(made, "id")
    walk.delete_later(f"{PATH}/{stream_id}")
    _exports(walk, stream_id, document)
    rule = Rule("deploy_stream", "a real-time stream begins to run", "Usage Engine, Stream management; Meterhouse")
    walk.check(rule, walk.call("POST", f"{PATH}/{stream_id}/deploy"), Answer(200, {"id": stream_id, "deployed": True}))
    try:
        ours = DeployedStream(collector_id, text_of(made, "meterKeys", "meter"))
        _moves(walk, "a stream that was imported", ours, category)
    finally:
        rule = Rule("undeploy_stream", "it ends", "Usage Engine, Stream management; Meterhouse")
        response = walk.call("POST", f"{PATH}/{stream_id}/undeploy")
        walk.check(rule, response, Answer(200, {"id": stream_id, "deployed": False}))


def _document(mark: str, collector_id: str, category: str) -> dict[str, Any]:
    rule = {"ignoreCondition": True, "conditionRelation": "and", "conditions": [], "matchCategory": category}
    metering = {
        "flushType": "TIMEOUT",
        "guidingRules": [rule | {"groupBy": [], "otherOperations": []}],
        "multiOutput": {"fixed": {name: {"id": f"meter-{name}"} for name in ("reset", "threshold")}},
    }
    nodes = [
        ("collect", "readers/online_collection", "Online collector", {"collectorId": collector_id}),
        ("meter", "transforms/meter", "Meter", metering),
        ("end", "writers/noop", "No-op", {}),
    ]
    return {
        "annotation": {"text": "Made by a conformance check.", "color": "blue"},
        "name": f"Conformance {mark}",
        "description": "What is sent to a collector moves meters.",
        "nodes": [
            {"id": key, "type": kind, "schemaVersion": 1, "name": name, "params": params, "x": 100, "y": 100}
            for key, kind, name, params in nodes
        ],
        "edges": [
            {"id": "1", "from": "collect", "to": "meter", "config": {}},
            {"id": "2", "from": "meter", "to": "end", "config": {}, "output": "meter-reset"},
        ],
        "nodeGroups": [],
    }


def _exports(walk: Walk, stream_id: str, document: dict[str, Any]) -> None:
    rule = Rule("export_stream", "is what was imported", "Usage Engine, Export stream")
    whole = Answer(200, Only(document | {"tag": ABSENT_OR_NULL}))
    walk.check(rule, walk.call("GET", f"{PATH}/{stream_id}/export"), whole)
    rule = Rule("export_stream", "a tag that there is not is not found", "Usage Engine, Export stream: tag")
    walk.check(rule, walk.call("GET", f"{PATH}/{stream_id}/export", params={"tag": "none"}), usage_engine_error(404))
    rule = Rule("list_stream_versions", "an import is a version", "Usage Engine, List stream versions")
    version = {"autosaved": True, "tag": None, "deployed": False, "createdAt": INSTANT_Z, "updatedAt": INSTANT_Z}
    walk.check(rule, walk.call("GET", f"{PATH}/{stream_id}/versions"), Answer(200, Only({"versions": [version]})))
    rule = Rule("list_stream_versions", "limit=101 is refused", "Usage Engine, List stream versions: limit")
    answer = walk.call("GET", f"{PATH}/{stream_id}/versions", params={"limit": 101})
    walk.check(rule, answer, usage_engine_error(400, "limit"))


def _moves(walk: Walk, what: str, stream: DeployedStream, category: str) -> None:
    """0.1 and 0.2 and a value that waits for no meter: 0.3, digit for digit."""
    rule = Rule("create_meter_type", f"for {what}", "Usage Engine, Create meter type")
    name = f"Conformance {walk.mark} {what}"
    type_id = create_type(walk, rule, make_type(name, category=category, timezone="Etc/UTC"))
    user_id = f"{uuid4()}@example.com"
    rule = Rule("create_meter", f"for {what}", "Usage Engine, Create meter")
    body = {"meterKey": stream.meter_key, "meterTypeId": type_id, "userId": user_id}
    made = walk.check(rule, walk.call("POST", METERS, json=body), Answer(201, body | {"value": 0}))
    path = f"{METERS}/{text_of(made, 'id')}"
    walk.delete_later(path)
    underway = (0, Decimal("0.1"), Decimal("0.2"))
    for value in ("0.1", "0.2"):
        rule = Rule("send_data", f"{value} to {what}", "Usage Engine, Send data")
        sent = {"data": {"userId": user_id, "value": Decimal(value)}}
        walk.check(rule, walk.call("POST", f"{COLLECTORS}/{stream.collector_id}/send", json=sent), STORED)
    rule = Rule(
        "get_meter", f"0.1 + 0.2 through {what} is 0.3", "Usage Engine, Meter processor; Meterhouse: exact decimals"
    )
    wait_until(
        lambda: member_of(read_body(walk.call("GET", path)), "value") not in underway, PATIENCE_SECONDS, walk.sleep
    )
    moved = walk.check(rule, walk.call("GET", path), Answer(200, {"value": Decimal("0.3"), "meterMetaData": OBJECT}))
    rule = Rule(
        "get_meter", f"it knows what moved it through {what}", "Usage Engine, Flushing metered records: meterMetaData"
    )
    used = {"count": 2, "firstEvent": INSTANT_Z, "lastEvent": INSTANT_Z}
    walk.note(rule, differences({"meterMetaData": used}, moved), "a count of 2, first and last event", "as expected")


def _unknown(walk: Walk) -> None:
    for operation, suffix in (("export_stream", "export"), ("list_stream_versions", "versions")):
        rule = Rule(operation, "an unknown stream is not found", "Usage Engine, 404 Not found")
        walk.check(rule, walk.call("GET", f"{PATH}/{uuid4()}/{suffix}"), usage_engine_error(404))
    lookup = f"/aggregation/v1/stores/{uuid4().hex}00000000/sessions/lookup"
    rule = Rule(
        "lookup_aggregation_session",
        "an unknown session is not found",
        "Usage Engine, Lookup script aggregation session",
    )
    walk.check(rule, walk.call("GET", lookup, params={"fieldValues": ["a", "b"]}), usage_engine_error(404))
    rule = Rule(
        "lookup_aggregation_session", "fieldValues is required", "Usage Engine, Lookup script aggregation session"
    )
    walk.check(rule, walk.call("GET", lookup), usage_engine_error(400, "fieldValues"))
