"""A stream that cleans usage and meters it, compared with a few lines of Python that do the same."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import uuid
from collections import Counter, defaultdict

import psycopg
import pytest

from tests.streams.by_hand import as_counted, deduplicated, exact, metered
from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    collector_id,
    edge,
    imported,
    make_document,
    node,
    run_to_the_end,
    send,
    start_worker,
    until,
    worker,
)

# Every third session is sent twice, every seventh comes from nowhere, every eleventh has no amount.
SIMULATE = """
const n = payload.value, pick = (list, salt) => list[(n * 7919 + salt) % list.length];
const record = {
  user: pick(["ann", "bob", "cy", "nobody"], 1), session: `s${n}`, tier: pick(["L1", "L2", "L3"], 2),
  region: n % 7 === 0 ? "unknown" : pick(["EMEA", "APAC", "AMER"], 3), status: pick(["Open", "Closed"], 4),
  amount: n % 11 === 0 ? undefined : (n % 13) / 10 + 0.1,
};
await push(record);
if (n % 3 === 0) await push(record);
"""
RULES = [
    {
        "ignoreCondition": False,
        "conditionRelation": "and",
        "conditions": [{"field": "tier", "value": "L1"}],
        "matchCategory": "L1",
        "groupBy": [{"fields": ["region"]}, {"fields": ["status", "region"]}],
        "otherOperations": [
            {"field": "session", "operation": "carry-first"},
            {"field": "session", "operation": "carry-last"},
        ],
    },
    {
        "ignoreCondition": False,
        "conditionRelation": "or",
        "conditions": [{"field": "tier", "value": "L2"}, {"field": "region", "value": "AMER"}],
        "matchCategory": "L2",
        "groupBy": [{"fields": ["status"]}],
        "otherOperations": [{"field": "status", "operation": "carry-last"}],
    },
]
SCHEMA = {"properties": {"region": {"enum": ["EMEA", "APAC", "AMER"]}}, "required": ["region"]}
MAPPING = [
    {"userId": "user"},
    {"session": "session"},
    {"tier": "tier"},
    {"region": "region"},
    {"status": "status"},
    {"value": "amount"},
]
OUTPUTS = {"fixed": {name: {"id": f"out-{name}"} for name in ("reset", "threshold")}}


def cleaning_and_metering(count):
    key = {
        "key": "${payload.session}",
        "multiOutput": {"fixed": {"unique": {"id": "out-unique"}, "duplicate": {"id": "out-again"}}},
    }
    return make_document(
        [
            node("count", "readers/counter", max=count),
            node("simulate", "transforms/script", transform=SIMULATE),
            node("first", "transforms/deduplicate", **key),
            node("check", "transforms/validate", schema=SCHEMA),
            node("map", "transforms/map", mappings=MAPPING),
            node("meter", "transforms/meter", guidingRules=RULES, multiOutput=OUTPUTS),
            node("raw", "writers/log"),
            node("again", "writers/log"),
            node("reached", "writers/log"),
        ],
        [
            edge("count", "simulate"),
            edge("simulate", "first"),
            edge("simulate", "raw"),
            edge("first", "check", "out-unique"),
            edge("first", "again", "out-again"),
            edge("check", "map"),
            edge("map", "meter"),
            edge("meter", "reached", "out-threshold"),
        ],
    )


def add_meters(client, key, mark):
    """Id → what `metered` needs to know. Ann has two meters of a category, which one record moves."""
    kinds = [("L1", "sum"), ("L1", "max"), ("L2", "sum"), ("L2", "increment"), ("L2", "min")]
    made = {}
    for number, (category, aggregation) in enumerate(kinds):
        schedule = {"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"}
        kind = {"name": f"{category} {aggregation} {mark}", "category": category, "aggregation": {"type": aggregation}}
        kind |= {"unit": "calls", "timezone": "Etc/UTC", "resetSchedule": schedule, "capacity": 100}
        kind |= {"thresholds": [{"name": "low", "absoluteValue": 10, "customFields": {"action": "MAIL", "b": 1}}]}
        type_id = client.post("/usage-metering/v1/meter-types", json=kind).raise_for_status().json()["id"]
        for user in ("ann", "bob", "cy")[: 3 - number % 3]:
            body = {"meterKey": key, "meterTypeId": type_id, "userId": user, "customFields": {"z": 1, "a": "x"}}
            meter = client.post("/usage-metering/v1/meters", json=body).raise_for_status().json()
            made[meter["id"]] = {"userId": user, "category": category, "aggregation": aggregation}
    return made


def all_lines(client, run):
    """What reached the writers, by their ids."""
    path = f"{STREAMS}/{run['streamId']}/runs/{run['id']}/outputs"
    found, skip = defaultdict(list), 0
    while page := exact(client.get(path, params={"limit": 100, "skip": skip}).text)["outputs"]:
        for line in page:
            found[line["nodeId"]].append(line["payload"])
        skip += len(page)
    return found


def lines(client, run, node_id):
    return all_lines(client, run)[node_id]


def meter_of(client, meter_id):
    return exact(client.get(f"/usage-metering/v1/meters/{meter_id}").text)


def test_sums_breakdowns_duplicates_and_rejected_records_are_those_of_a_reimplementation(client, imported, worker):
    made = imported(cleaning_and_metering(2_500))
    meters = add_meters(client, made["meterKeys"]["meter"], made["id"])
    run = run_to_the_end(client, made["id"])
    assert run["status"] == "completed", run

    raw = lines(client, run, "raw")
    first, again = deduplicated(raw, key=lambda record: record["session"])
    valid = [record for record in first if record["region"] != "unknown"]
    mapped = [{new: record[old] for one in MAPPING for new, old in one.items() if old in record} for record in valid]
    counted, refused = metered(RULES, meters, mapped)

    assert len(raw) == 2_500 + 834
    assert lines(client, run, "again") == again
    assert run["nodes"]["check"] == {"in": len(first), "out": len(valid), "rejected": len(first) - len(valid)}
    assert run["nodes"]["meter"]["rejected"] == len(refused) > 500
    for meter_id, expected in counted.items():
        assert as_counted(meter_of(client, meter_id)) == expected, meters[meter_id]
    sums = [meter["value"] for meter_id, meter in counted.items() if meters[meter_id]["aggregation"] == "sum"]
    assert len(sums) == 4
    assert all(value > 50 for value in sums), "the stream moved nothing: nothing was proved"
    waiting = client.get(
        "/data-correction/v1/records", params={"streamId": made["id"], "summary": "true", "limit": 100}
    )
    by_node = Counter()
    for line in waiting.json()["summary"]:
        by_node[line["nodeId"]] += line["count"]
    assert by_node == {"check": len(first) - len(valid), "meter": len(refused)}


MEMBERS = [
    "id",
    "meterTypeId",
    "meterTypeName",
    "userId",
    "meterKey",
    "value",
    "unit",
    "periodStart",
    "periodEnd",
    "groupBreakdowns",
    "capacity",
    "thresholds",
    "carryFirst",
    "carryLast",
    "customFields",
    "deleteOnReset",
    "timezone",
    "createdAt",
    "updatedAt",
]


@pytest.fixture
def database(installation):
    with psycopg.connect(
        installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", ""), autocommit=True
    ) as database:
        yield database


def test_metered_and_threshold_records_have_their_members_in_order(client, imported, worker, collector_id, database):
    rule = RULES[0] | {"ignoreCondition": True, "conditions": []}
    document = make_document(
        [
            node("collect", "readers/online_collection", collectorId=collector_id),
            node("meter", "transforms/meter", guidingRules=[rule], multiOutput=OUTPUTS),
            node("reached", "writers/log"),
            node("reset", "writers/log"),
        ],
        [edge("collect", "meter"), edge("meter", "reached", "out-threshold"), edge("meter", "reset", "out-reset")],
    )
    made = imported(document)
    meters = add_meters(client, made["meterKeys"]["meter"], uuid.uuid4())
    (bob,) = (
        meter_id
        for meter_id, one in meters.items()
        if (one["userId"], one["category"], one["aggregation"]) == ("bob", "L1", "sum")
    )
    run = {"streamId": made["id"], "id": client.post(f"{STREAMS}/{made['id']}/deploy").json()["runId"]}
    usage = {"userId": "bob", "region": "EMEA", "status": "Open", "session": "s"}
    send(client, collector_id, usage | {"value": 1.5})
    until(lambda: meter_of(client, bob)["value"] == 1.5)
    send(client, collector_id, usage | {"value": 8.5, "region": "APAC", "session": "t"})
    (reached,) = [one for one in until(lambda: lines(client, run, "reached")) if one["id"] == bob]
    assert list(reached) == [*MEMBERS, "thresholdReached"]
    assert list(reached["thresholdReached"]) == ["name", "absoluteValue", "customFields", "reachedAt"]
    assert list(reached["thresholds"][0]) == ["name", "absoluteValue", "customFields", "reachedAt"]
    assert list(reached["customFields"]) == ["z", "a"]
    assert_groups(reached)

    database.execute(
        "UPDATE meters SET period_start = now() - interval '2 minutes', period_end = now() - interval '1 minute'"
        " WHERE id = %s",
        (bob,),
    )
    before = meter_of(client, bob)
    send(client, collector_id, usage | {"value": 2})
    metered_records = until(lambda: [one for one in lines(client, run, "reset") if one["id"] == bob])
    client.post(f"{STREAMS}/{made['id']}/undeploy").raise_for_status()
    assert [list(one) for one in metered_records] == [MEMBERS]
    (record,) = metered_records
    shown = ("value", "periodStart", "periodEnd", "groupBreakdowns", "thresholds", "carryFirst", "carryLast")
    assert {name: record[name] for name in shown} == {name: before[name] for name in shown}
    assert (record["value"], record["carryFirst"], record["carryLast"]) == (10, {"session": "s"}, {"session": "t"})
    assert_groups(record)
    after = meter_of(client, bob)
    assert (after["value"], after["periodStart"], after["carryFirst"]) == (2, record["periodEnd"], {"session": "s"})
    assert "reachedAt" not in after["thresholds"][0]


def assert_groups(record):
    assert [list(one) for one in record["groupBreakdowns"]] == [["name", "groups"]] * 2
    (by_region, by_both) = record["groupBreakdowns"]
    assert (by_region["name"], by_both["name"]) == ("region", "status, region")
    for group in [*by_region["groups"], *by_both["groups"]]:
        assert list(group) == ["key", "fields", "value", "carryFirst", "carryLast"]
    assert [group["key"] for group in by_region["groups"]] == ["region:EMEA", "region:APAC"]
    assert [list(group["fields"]) for group in by_both["groups"]] == [["status", "region"]] * 2
    assert by_both["groups"][0]["key"] == "status:Open,region:EMEA"
