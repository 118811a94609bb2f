"""Events into a bucket, on one of its mounts."""

from typing import Any

import httpx

from meterhouse.conformance.bucket_meters import refusal
from meterhouse.conformance.buckets import Mount
from meterhouse.conformance.expect import ABSENT_OR_NULL, INSTANT, Only, one_of
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, Walk

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
RECEIPT = {"accepted": 0, "duplicates": 0, "conflicts": 0, "rejected": 0, "events": []}
FULL = {"Prefer": "return=representation"}


def make_event(mark: str, event_id: str, **more: Any) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": event_id, "source": f"conformance/{mark}", "type": f"conformance.{mark}"}
    return event | {"subject": "ann", "data": {"tokens": 1}} | more


def send(walk: Walk, mount: Mount, events: Any, media_type: str = "application/json", **how: Any) -> httpx.Response:
    headers = mount.headers | {"Content-Type": media_type} | how.pop("headers", {})
    return walk.call("POST", f"{mount.prefix}/events", json=events, headers=headers, **how)


def taken(mount: Mount, **counts: Any) -> Answer:
    """Without Prefer: Zuplo's mount tells what became of the events, OpenMeter's says nothing."""
    return Answer(200, Only(RECEIPT | counts)) if mount.zuplo else Answer(204, None)


def walk_events(walk: Walk, mount: Mount) -> None:
    mark = f"{walk.mark}.{mount.dialect.lower()}"
    written = "Zuplo, events; Meterhouse, receipt" if mount.zuplo else "OpenMeter, Ingest events: 204"
    for media_type, events in (
        (ONE, make_event(mark, "one")),
        (MANY, [make_event(mark, "batch 1"), make_event(mark, "batch 2")]),
        ("application/json", make_event(mark, "json")),
        ("application/json; charset=utf-8", [make_event(mark, "json 1")]),
    ):
        count = len(events) if isinstance(events, list) else 1
        rule = Rule("ingest_events", f"{mount.dialect}: {media_type}, {count} of them", written)
        walk.check(rule, send(walk, mount, events, media_type), taken(mount, accepted=count))
    _again(walk, mount, mark)
    _malformed(walk, mount, mark)
    rule = Rule("list_events", f"{mount.dialect}: what was sent is listed as it was sent", "OpenMeter, List events")
    response = walk.call("GET", f"{mount.prefix}/events", params={"id": "batch 1"}, headers=mount.headers)
    sent = {"event": make_event(mark, "batch 1") | {"time": INSTANT}, "ingestedAt": INSTANT}
    walk.check(rule, response, Answer(200, one_of("a list with the event", sent)))


def _again(walk: Walk, mount: Mount, mark: str) -> None:
    def line(status: str, **more: Any) -> dict[str, Any]:
        return {"index": 0, "id": "one", "source": f"conformance/{mark}", "status": status} | more

    source = "CloudEvents 1.0: source and id identify an event; Meterhouse, Deduplication"
    again, other = make_event(mark, "one"), make_event(mark, "one", data={"tokens": 2})
    rule = Rule("ingest_events", f"{mount.dialect}: the same event again is a duplicate", source)
    duplicate = line("duplicate", firstIngestedAt=INSTANT)
    receipt = Only(RECEIPT | {"duplicates": 1, "events": [duplicate]})
    walk.check(rule, send(walk, mount, again, headers=FULL), Answer(200, receipt))
    rule = Rule("ingest_events", f"{mount.dialect}: another content under the same id is a conflict", source)
    receipt = Only(RECEIPT | {"conflicts": 1, "events": [line("conflict", firstIngestedAt=INSTANT)]})
    walk.check(rule, send(walk, mount, other, headers=FULL), Answer(200, receipt))
    rule = Rule("ingest_events", f"{mount.dialect}: a duplicate is taken like any other", source)
    listed = [line("duplicate")] if mount.zuplo else ABSENT_OR_NULL
    walk.check(rule, send(walk, mount, again), taken(mount, duplicates=1, events=listed))


def _malformed(walk: Walk, mount: Mount, mark: str) -> None:
    for field in ("id", "source", "specversion", "type", "subject"):
        rule = Rule(
            "ingest_events", f"{mount.dialect}: {field} is required", "CloudEvents 1.0; OpenMeter, Event: required"
        )
        event = {name: value for name, value in make_event(mark, "bad").items() if name != field}
        walk.check(rule, send(walk, mount, event), refusal(mount, 400, field))
    good, bad = make_event(mark, "beside a bad one"), make_event(mark, "bad", time="yesterday")
    rule = Rule(
        "ingest_events",
        f"{mount.dialect}: a bad event in a batch is named by its place",
        "OpenMeter, Event: time; Meterhouse, receipt",
    )
    walk.check(rule, send(walk, mount, [good, bad]), refusal(mount, 400, "events[1].time"))
    rule = Rule(
        "ingest_events",
        f"{mount.dialect}: with partial=true the good one is stored, as if never sent before",
        "Meterhouse, receipt",
    )
    receipt = Only(
        RECEIPT | {"accepted": 1, "rejected": 1, "events": [{"index": 0}, {"index": 1, "status": "rejected"}]}
    )
    response = send(walk, mount, [good, bad], headers=FULL, params={"partial": "true"})
    walk.check(rule, response, Answer(200, receipt))
    rule = Rule("ingest_events", f"{mount.dialect}: an empty list is refused", "OpenMeter, no events found")
    walk.check(rule, send(walk, mount, []), refusal(mount, 400))
    rule = Rule("ingest_events", f"{mount.dialect}: another content type is refused", "OpenMeter, invalid content type")
    walk.check(rule, send(walk, mount, good, "text/plain"), refusal(mount, 400))
