"""A meter in memory: usage applied to it, thresholds reached, its record (reference: usage engine 2.4 to 2.6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from meterhouse.rules.guiding import Rule, Usage, group_key
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.numbers import digits
from meterhouse.rules.thresholds import LIMITS

Json = dict[str, Any]

EXACT = Context(prec=4_000)
"""Python's own context would round sums to 28 digits; a number here has at most 2000."""


@dataclass(slots=True)
class Meter:
    """A meter's row with what it reads through its type. Amounts in JSON columns are exact numbers."""

    id: UUID
    meter_type_id: UUID
    meter_type_name: str
    category: str
    active_from: datetime
    active_to: datetime | None
    reset_schedule: Mapping[str, str]
    meter_key: str
    user_id: str
    aggregation: str
    unit: str
    timezone: str
    capacity: Decimal | None
    thresholds: list[Json]
    custom_fields: Json
    delete_on_reset: bool
    value: Decimal | None
    group_breakdowns: list[Json]
    carry_first: Json
    carry_last: Json
    meter_meta_data: Json
    period_start: datetime
    period_end: datetime
    period_schedule: Mapping[str, str]
    """What `period_end` was found with; `reset_schedule` is for the next one."""
    period_tz_version: str
    last_period_hash: str | None
    created_at: datetime
    updated_at: datetime
    changed: bool = False

    def is_active(self, at: datetime) -> bool:
        return self.active_from <= at and (self.active_to is None or at <= self.active_to)


def aggregate(aggregation: str, present: Decimal | None, value: Decimal) -> Decimal:
    """`present` None: no value yet in this period."""
    if aggregation == "increment":
        return EXACT.add(present or Decimal(0), Decimal(1))
    if present is None:
        return value
    if aggregation == "sum":
        return EXACT.add(present, value)
    return max(present, value) if aggregation == "max" else min(present, value)


def apply(meter: Meter, rule: Rule, usage: Usage, payload: Mapping[str, Any]) -> list[Json]:
    """Counts one record. Returns the thresholds that it reached, lowest first; they are marked later, one by one."""
    meter.value = aggregate(meter.aggregation, meter.value, usage.value)
    _carry(meter.carry_first, meter.carry_last, rule, payload)
    for fields in rule.group_by:
        group = _group(meter, *group_key(fields, payload))
        group["value"] = aggregate(meter.aggregation, _decimal(group["value"]), usage.value)
        _carry(group["carryFirst"], group["carryLast"], rule, payload)
    seen = format_milliseconds(usage.at)
    meta = meter.meter_meta_data
    meter.meter_meta_data = {
        "count": meta.get("count", 0) + 1,
        "firstEvent": meta.get("firstEvent", seen),
        "lastEvent": seen,
    }
    meter.changed = True
    return _reached(meter)


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


def _carry(first: Json, last: Json, rule: Rule, payload: Mapping[str, Any]) -> None:
    for field in rule.carry_first:
        if field in payload:
            first.setdefault(field, payload[field])
    for field in rule.carry_last:
        if field in payload:
            last[field] = payload[field]


def _group(meter: Meter, name: str, key: str, fields: Json) -> Json:
    breakdown = next((one for one in meter.group_breakdowns if one["name"] == name), None)
    if breakdown is None:
        breakdown = {"name": name, "groups": []}
        meter.group_breakdowns.append(breakdown)
    groups: list[Json] = breakdown["groups"]
    found = next((group for group in groups if group["key"] == key), None)
    if found is None:
        found = {"key": key, "fields": fields, "value": None, "carryFirst": {}, "carryLast": {}}
        groups.append(found)
    return found


def limit_of(threshold: Mapping[str, Any], capacity: Decimal | None) -> Decimal | None:
    """None: a share of a capacity that there is not."""
    if "absoluteValue" in threshold:
        return Decimal(threshold["absoluteValue"])
    if capacity is None:
        return None
    return EXACT.multiply(capacity, Decimal(threshold["capacityPercentage"])).scaleb(-2, EXACT)


def _reached(meter: Meter) -> list[Json]:
    reached = []
    for threshold in meter.thresholds:
        limit = limit_of(threshold, meter.capacity)
        if "reachedAt" not in threshold and limit is not None and meter.value is not None and meter.value >= limit:
            reached.append((limit, threshold))
    return [threshold for _, threshold in sorted(reached, key=lambda one: one[0])]


def metered_record(meter: Meter) -> Json:
    """The meter as it stands, members in the product's order."""
    record: Json = {
        "id": str(meter.id),
        "meterTypeId": str(meter.meter_type_id),
        "meterTypeName": meter.meter_type_name,
        "userId": meter.user_id,
        "meterKey": meter.meter_key,
        "value": plain(meter.value or Decimal(0)),
        "unit": meter.unit,
        "periodStart": format_milliseconds(meter.period_start),
        "periodEnd": format_milliseconds(meter.period_end),
        "groupBreakdowns": [
            {"name": one["name"], "groups": [_group_record(one["name"], group) for group in one["groups"]]}
            for one in meter.group_breakdowns
        ],
    }
    if meter.capacity is not None:
        record["capacity"] = plain(meter.capacity)
    return record | {
        "thresholds": [_told(threshold) for threshold in meter.thresholds],
        "carryFirst": dict(meter.carry_first),
        "carryLast": dict(meter.carry_last),
        "customFields": dict(meter.custom_fields),
        "deleteOnReset": meter.delete_on_reset,
        "timezone": meter.timezone,
        "createdAt": format_milliseconds(meter.created_at),
        "updatedAt": format_milliseconds(meter.updated_at),
    }


def _group_record(name: str, group: Mapping[str, Any]) -> Json:
    """In the order that the database does not keep; of the fields it is the one in the breakdown's name."""
    fields, ordered = group["fields"], name.split(", ")
    return {
        "key": group["key"],
        "fields": {field: fields[field] for field in ordered} if fields.keys() == set(ordered) else dict(fields),
        "value": plain(group["value"]),
        "carryFirst": dict(group["carryFirst"]),
        "carryLast": dict(group["carryLast"]),
    }


def threshold_record(meter: Meter, threshold: Json, now: datetime) -> Json:
    """Marks the threshold as reached; the record tells it last, under thresholdReached."""
    threshold["reachedAt"] = format_milliseconds(now)
    meter.changed = True
    return metered_record(meter) | {"thresholdReached": _told(threshold)}


def _told(threshold: Json) -> Json:
    return {name: plain(value) if name in LIMITS else value for name, value in threshold.items()}


def plain(number: Decimal | int) -> Decimal:
    """Without trailing zeros."""
    return Decimal(digits(number))
