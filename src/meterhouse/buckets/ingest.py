"""Events in: from a request's body to the writer, and the receipt (reference: metering 8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from meterhouse import clock
from meterhouse.buckets.scope import Scope
from meterhouse.buckets.writer import EventWriter, Outcome
from meterhouse.errors import BadRequestError, FieldError, bad_fields
from meterhouse.rules.events import Event, parse_event
from meterhouse.wire import rfc3339

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_EVENTS = 10_000

_ONE = "application/cloudevents+json"
_MANY = "application/cloudevents-batch+json"
_EITHER = "application/json"

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def split_events(body: bytes, content_type: str) -> tuple[list[msgspec.Raw], bool]:
    """The events' JSON texts, and whether they came as a list. Raises BadRequestError."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in (_ONE, _MANY, _EITHER):
        raise BadRequestError(f"invalid content type: {content_type}: use {_ONE}, {_MANY} or {_EITHER}")
    text = body.strip(b" \t\r\n")
    if not text:
        raise BadRequestError(
            "the request body is empty: send a CloudEvent, or a list of them (the OpenMeter Python SDK's"
            " ingest_events_json sends an empty body for a dict: use ingest_event)"
        )
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadRequestError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    is_list = text.startswith(b"[")
    if media_type == _ONE and is_list:
        raise BadRequestError(f"{_ONE} carries one event: send a list as {_MANY}")
    if media_type == _MANY and not is_list:
        raise BadRequestError(f"{_MANY} carries a list of events")
    try:
        raws = _decode_list(text) if is_list else [msgspec.json.decode(text, type=msgspec.Raw)]
    except msgspec.DecodeError as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequestError("the body is nested too deeply") from None
    if not raws:
        raise BadRequestError("no events found")
    if len(raws) > MAX_EVENTS:
        raise BadRequestError(f"a request carries at most {MAX_EVENTS} events, this one has {len(raws)}")
    return raws, is_list


class Receipt(msgspec.Struct, rename="camel"):
    """What became of each event of one request."""

    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request's events. With `partial`, malformed ones do not stop the others."""

    raws: Sequence[msgspec.Raw]
    is_list: bool
    partial: bool
    full_receipt: bool


async def ingest(writer: EventWriter, scope: Scope, delivery: Delivery) -> Receipt:
    """Stores the events and tells what became of them."""
    raws = delivery.raws
    parsed = [parse_event(raw) for raw in raws]
    bad = [(index, item) for index, item in enumerate(parsed) if isinstance(item, FieldError)]
    if bad and not delivery.partial:
        raise bad_fields([_place(index, error, is_list=delivery.is_list) for index, error in bad])
    good = [(index, item) for index, item in enumerate(parsed) if isinstance(item, Event)]
    outcomes: list[Outcome] = []
    if good:
        outcomes = await writer.write(scope.account_id, scope.bucket_no, [event for _, event in good], clock.now())
    lines = {index: _rejected(raws[index], error) for index, error in bad}
    lines |= {index: _line(event, outcome) for (index, event), outcome in zip(good, outcomes, strict=True)}
    counts = dict.fromkeys(("accepted", "duplicate", "conflict", "rejected"), 0)
    for line in lines.values():
        counts[line["status"]] += 1
    listed = [
        {"index": index} | lines[index]
        for index in range(len(parsed))
        if delivery.full_receipt or lines[index]["status"] != "accepted"
    ]
    return Receipt(counts["accepted"], counts["duplicate"], counts["conflict"], counts["rejected"], listed)


def _place(index: int, error: FieldError, *, is_list: bool) -> FieldError:
    event = f"events[{index}]" if is_list else ""
    field = f"{event}.{error.field}" if event and error.field else event or error.field or "event"
    return FieldError(field, error.message, error.code)


def _line(event: Event, outcome: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {"id": event.id, "source": event.source, "status": outcome.status}
    if outcome.status == "conflict":
        line["detail"] = (
            "an event with this source and id, but other content, was stored before:"
            " it stays counted, this one is kept aside"
        )
    if outcome.first_ingested_at is not None:
        line["firstIngestedAt"] = rfc3339(outcome.first_ingested_at)
    return line


def _rejected(raw: msgspec.Raw, error: FieldError) -> dict[str, Any]:
    """The id and source as far as they can be read."""
    try:
        event = msgspec.json.decode(bytes(raw))
    except (msgspec.DecodeError, RecursionError):
        event = None
    members = event if isinstance(event, dict) else {}
    names = {name: members[name] if isinstance(members.get(name), str) else None for name in ("id", "source")}
    return names | {"status": "rejected", "detail": f"{error.field}: {error.message}" if error.field else error.message}
