"""What functions do, once more and in other words: what the server says is compared with this."""

import json
from decimal import Decimal


def exact(text):
    """JSON without floats."""
    return json.loads(text, parse_float=Decimal)


def deduplicated(records, key):
    """First ones and later ones."""
    seen, first, later = set(), [], []
    for record in records:
        (later if key(record) in seen else first).append(record)
        seen.add(key(record))
    return first, later


def metered(rules, meters, records):
    """`meters`: id → userId, category and aggregation. What each has counted, and the records that none takes."""
    counted = {meter_id: {"value": None, "groups": {}, "first": {}, "last": {}} for meter_id in meters}
    refused = []
    for record in records:
        rule, ids = next(
            ((r, found) for r in rules if holds(r, record) and (found := hit(r, record, meters))), (None, [])
        )
        if rule is None or not isinstance(record.get("value"), (int, Decimal)):
            refused.append(record)
            continue
        for meter_id in ids:
            meter, kind = counted[meter_id], meters[meter_id]["aggregation"]
            meter["value"] = added(kind, meter["value"], record["value"])
            for group_by in rule.get("groupBy", []):
                key = ",".join(f"{field}:{record[field]}" for field in group_by["fields"])
                meter["groups"][key] = added(kind, meter["groups"].get(key), record["value"])
            for carry in rule.get("otherOperations", []):
                if carry["field"] in record:
                    kept = meter[carry["operation"].removeprefix("carry-")]
                    if carry["operation"] == "carry-last" or carry["field"] not in kept:
                        kept[carry["field"]] = record[carry["field"]]
    return counted, refused


def holds(rule, record):
    join = any if rule.get("conditionRelation") == "or" else all
    return rule.get("ignoreCondition") or join(record.get(c["field"]) == c["value"] for c in rule["conditions"])


def hit(rule, record, meters):
    who = (str(record.get("userId")), rule["matchCategory"])
    return [meter_id for meter_id, meter in meters.items() if (meter["userId"], meter["category"]) == who]


def added(kind, before, value):
    if kind == "increment":
        return (before or 0) + 1
    if before is None:
        return value
    return {"sum": before + value, "max": max(before, value), "min": min(before, value)}[kind]


def as_counted(meter):
    """A meter of the API, in the form of `metered`."""
    groups = {group["key"]: group["value"] for one in meter["groupBreakdowns"] for group in one["groups"]}
    return {"value": meter["value"], "groups": groups, "first": meter["carryFirst"], "last": meter["carryLast"]}
