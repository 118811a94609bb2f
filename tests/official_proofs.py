"""What the vendor's example streams must come to, computed again from their own intermediate records.

Their data are random, so copies of the documents get further log writers, which tell what a function was given.
"""

import json
import re
import time
import uuid
from collections import Counter, defaultdict
from copy import deepcopy
from decimal import Decimal

import httpx

from .streams.by_hand import as_counted, deduplicated, exact, metered

STREAMS = "/stream-management/v1/streams"
LOG = "writers/log"
MINUTE = 61


class Server:
    """The API, as proofs use it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def import_stream(self, document, **members):
        answer = self.client.post(f"{STREAMS}/import", json={"stream": document} | members)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def run(self, stream_id):
        """The completed run."""
        run_id = self.client.post(f"{STREAMS}/{stream_id}/start").raise_for_status().json()["runId"]
        for _ in range(2400):
            run = exact(self.client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").text)
            if run["status"] != "running":
                assert run["status"] == "completed", run.get("error")
                return run
            time.sleep(0.05)
        raise AssertionError("it does not end")

    def outputs(self, run):
        """By the id of the writer."""
        found, path, skip = defaultdict(list), f"{STREAMS}/{run['streamId']}/runs/{run['id']}/outputs", 0
        while page := exact(self.client.get(path, params={"limit": 100, "skip": skip}).text)["outputs"]:
            for line in page:
                found[line["nodeId"]].append(line["payload"])
            skip += len(page)
        return found

    def rejected(self, stream_id):
        """How many records wait, by node id."""
        params = {"streamId": stream_id, "summary": "true", "limit": 100}
        counts = Counter()
        for line in self.client.get("/data-correction/v1/records", params=params).json()["summary"]:
            counts[line["nodeId"]] += line["count"]
        return counts

    def list_all(self, noun, **params):
        found, skip = [], 0
        path = f"/usage-metering/v1/{noun}"
        member = {"meter-types": "meterTypes", "meters": "meters"}[noun]
        while page := exact(self.client.get(path, params={"limit": 100, "skip": skip} | params).text)[member]:
            found += page
            skip += len(page)
        return found

    def session(self, store_id, *values):
        return self.client.get(
            f"/aggregation/v1/stores/{store_id}/sessions/lookup", params={"fieldValues": list(values)}
        )


def named(document, name):
    (node,) = [node for node in document["nodes"] if node["name"] == name]
    return node


def of_type(document, kind):
    return [node for node in document["nodes"] if node["type"] == kind]


def copy_of(document, mark):
    return deepcopy(document) | {"name": f"{document['name']} ({mark} {uuid.uuid4().hex[:8]})"}


def log_what_enters(document, node):
    """Returns the id of a new writer that gets what the node gets."""
    log = {"id": f"into {node['id']}", "type": LOG, "schemaVersion": 1, "name": f"Into {node['name']}", "params": {}}
    document["nodes"].append(log | {"x": 0, "y": 0})
    document["edges"] += [
        edge | {"id": f"{edge['id']} log", "to": log["id"]} for edge in document["edges"] if edge["to"] == node["id"]
    ]
    return log["id"]


# --- provisioning and metering ---------------------------------------------------------------------------------------


def prove_provisioning(server, run):
    """What the stream's log tells of its calls (over HTTP, with a token) is there, as it was asked for."""
    assert_equal(sum(counts["rejected"] for counts in run["nodes"].values()), 0)
    told = [record for records in server.outputs(run).values() for record in records]
    assert told, "nothing was provisioned"
    for record in told:
        noun, asked = ("meter-types", record["meterType"]) if "meterType" in record else ("meters", record["meter"])
        made = exact(server.client.get(f"/usage-metering/v1/{noun}/{record['httpResponse']['id']}").text)
        assert_equal({name: made.get(name) for name in asked}, asked)


def key_in(document):
    (key,) = re.findall(r"METER_KEY = \W+([\w-]+)", json.dumps(document))
    return key


def prove_metering(server, document, key, provisioning):
    """With the key that the provisioning script names, carried by the document; then with one that was generated."""
    if '"timestamp"' in json.dumps(document):
        time.sleep(MINUTE)  # usage of the last minute is simulated, and the types were not active so long ago
    carrying = copy_of(document, "carries its key")
    of_type(carrying, "transforms/meter")[0]["params"]["meterKey"] = key
    meter_once(server, carrying, lambda given: assert_equal(given, key))

    def provision(given):
        assert given != key
        text = json.dumps(provisioning).replace(key, given)
        server.run(server.import_stream(copy_of(json.loads(text), "generated key"))["id"])

    meter_once(server, copy_of(document, "generated key"), provision)


def meter_once(server, document, prepare):
    """Duplicates, invalid records and usage, each computed from what enters the function that finds them."""
    (processor,), checks = of_type(document, "transforms/meter"), of_type(document, "transforms/validate")
    dedups = of_type(document, "transforms/deduplicate")
    logs = {node["id"]: log_what_enters(document, node) for node in [processor, *checks, *dedups]}
    made = server.import_stream(document)
    (key,) = made["meterKeys"].values()
    prepare(key)
    run = server.run(made["id"])
    outputs = server.outputs(run)
    entered = {node_id: outputs[log] for node_id, log in logs.items()}
    rejected = Counter()
    for node in dedups:
        (field,) = re.findall(r"payload\.(\w+)", node["params"]["key"])
        first, again = deduplicated(entered[node["id"]], key=lambda record, field=field: record[field])
        assert_equal(run["nodes"][node["id"]]["out"], len(first))
        print(f"    {node['name']}: {len(again)} of {len(entered[node['id']])} records are duplicates")
    for node in checks:
        rejected[node["id"]] = sum(not fits(node["params"]["schema"], record) for record in entered[node["id"]])
        assert rejected[node["id"]], f"{node['name']} had nothing to reject"
    meters = known_meters(server, key)
    counted, refused = metered(processor["params"]["guidingRules"], meters, entered[processor["id"]])
    rejected[processor["id"]] = len(refused)
    assert_equal(server.rejected(made["id"]), +rejected)
    moved = {meter_id: one | {"value": one["value"] or 0} for meter_id, one in counted.items()}
    assert sum(one["value"] for one in moved.values()) > 50, "no meter moved"
    assert_equal({one["id"]: as_counted(one) for one in server.list_all("meters", meterKey=key)}, moved)
    print(f"    rejected: {dict(rejected)}; {len(entered[processor['id']])} records moved {len(moved)} meters")


def known_meters(server, key):
    types = {one["id"]: one for one in server.list_all("meter-types")}
    return {
        one["id"]: {
            "userId": one["userId"],
            "category": types[one["meterTypeId"]]["category"],
            "aggregation": types[one["meterTypeId"]]["aggregation"]["type"],
        }
        for one in server.list_all("meters", meterKey=key)
    }


def fits(schema, record):
    """As much of JSON Schema as the examples use."""
    types = {"integer": int, "number": (int, Decimal), "string": str}
    return all(name in record for name in schema.get("required", [])) and all(
        isinstance(record[name], types[one["type"]] if "type" in one else object)
        and record[name] in one.get("enum", [record[name]])
        and (not isinstance(record[name], str) or re.search(one.get("pattern", ""), record[name]))
        for name, one in schema.get("properties", {}).items()
        if name in record
    )


def prove_purged(server, meters_document):
    assert_equal(server.list_all("meters", meterKey=key_in(meters_document)), [])


# --- cleaning, summing ----------------------------------------------------------------------------------------------


def prove_cleaning(server, document):
    document = copy_of(document, "cleaned")
    (dedup,), (check,), (writer,) = (
        of_type(document, kind) for kind in ("transforms/deduplicate", "transforms/validate", LOG)
    )
    log = log_what_enters(document, dedup)
    made = server.import_stream(document)
    run = server.run(made["id"])
    outputs = server.outputs(run)
    first, again = deduplicated(outputs[log], key=lambda record: json.dumps(record, sort_keys=True, default=str))
    valid = [one for one in first if "kWhCharged" in one and len(one["userTechnicalId"]) == 36]
    assert_equal((len(outputs[log]), len(again), len(first) - len(valid)), (8, 3, 2))
    assert_equal(outputs[writer["id"]], valid)
    assert_equal(server.rejected(made["id"]), Counter({check["id"]: 2}))


def prove_months(server, document):
    document = copy_of(document, "summed")
    (aggregator,), (writer,) = of_type(document, "transforms/data_aggregate"), of_type(document, LOG)
    log = log_what_enters(document, aggregator)
    outputs = server.outputs(server.run(server.import_stream(document)["id"]))
    sums = defaultdict(int)
    for record in outputs[log]:
        sums[record["dateTime"][:7], record["userId"]] += record["downloadedGame"]
    expected = [{"Month": month, "TotalDownload": total, "User": user} for (month, user), total in sums.items()]
    assert_equal([list(one.items()) for one in outputs[writer["id"]]], [list(one.items()) for one in expected])
    assert_equal(sum(sums.values()), 20)


# --- sessions -------------------------------------------------------------------------------------------------------


def prove_correlation(server, document):
    """As it stands, with its two simulated sources."""
    document = copy_of(document, "correlated")
    correlate, found = named(document, "Correlate and sum"), named(document, "Account not found")
    log, accounts = log_what_enters(document, correlate), log_what_enters(document, found)
    ends = {
        name: log_what_enters(document, named(document, name))
        for name in ("To Billing", "To analytics", "To reconciliation")
    }
    made = server.import_stream(document)
    run = server.run(made["id"])
    outputs = server.outputs(run)
    flushed, open_sessions = correlated(outputs[log])
    assert flushed, "nothing was flushed"
    assert_equal(outputs[ends["To Billing"]], [pick(one, "accountName", "month", "eventCount") for one in flushed])
    analytics = Counter(
        canonical(pick(one, "accountName", "eventCount", field, "month"))
        for one in flushed
        for field in ("eventCountByServiceId", "eventCountByFunnelEvent")
    )
    assert_equal(Counter(map(canonical, outputs[ends["To analytics"]])), analytics)
    (store_id,) = made["aggregationStores"].values()
    assert_sessions(server, store_id, open_sessions, {one["accountName"] for one in outputs[log]})

    missing = Counter(
        (one["timestamp"][:7], one["accountId"])
        for one in outputs[accounts]
        if one["accountName"] == "ACCOUNT NOT FOUND"
    )
    reconciled = {
        (one["billingPeriod"], one["accountId"]): one["sumFunnelEvents"] for one in outputs[ends["To reconciliation"]]
    }
    assert_equal(reconciled, dict(missing))
    expected = {"sumFunnelEventsNoAccountInCRM": missing.total(), "countAccountsMissingInCRM": len(missing)}
    assert_equal(run["audit"], {name: count for name, count in expected.items() if count})
    print(f"    {len(outputs[log])} events, {len(flushed)} sessions flushed, {len(open_sessions)} open")


def prove_collected_sessions(server, document):
    """With two collectors in the place of the simulated sources: sessions are seen while they are open."""
    document = copy_of(document, "collected")
    collectors = []
    for trigger, source in (("Trigger 1", "Core Sources"), ("Trigger 2", "CPQ Sources")):
        made = server.client.post("/online-collection/v1/collectors", json={"name": f"{source} {uuid.uuid4().hex[:8]}"})
        collectors.append(made.raise_for_status().json()["id"])
        node, script = named(document, trigger), named(document, source)
        node |= {"type": "readers/online_collection", "params": {"collectorId": collectors[-1]}}
        document["nodes"].remove(script)
        document["edges"] = [edge for edge in document["edges"] if edge["to"] != script["id"]]
        for edge in document["edges"]:
            edge["from"] = node["id"] if edge["from"] == script["id"] else edge["from"]
    log = log_what_enters(document, named(document, "Correlate and sum"))
    made = server.import_stream(document)
    (store_id,) = made["aggregationStores"].values()
    run_id = server.client.post(f"{STREAMS}/{made['id']}/deploy").raise_for_status().json()["runId"]

    def sent(numbers, *, in_all):
        send_events(server, collectors, numbers)
        for _ in range(1200):
            if len(seen := server.outputs({"streamId": made["id"], "id": run_id})[log]) == in_all:
                return seen
            time.sleep(0.05)
        raise AssertionError("the events do not arrive")

    seen = sent(range(20), in_all=40)
    flushed, open_sessions = correlated(seen)
    assert_equal((len(flushed), len(open_sessions)), (0, 8))
    assert_sessions(server, store_id, open_sessions, open_sessions)
    seen = sent(range(20, 60), in_all=120)
    flushed, open_sessions = correlated(seen)
    assert_equal(len(flushed), 20)
    assert_sessions(server, store_id, open_sessions, {one["accountName"] for one in seen})
    server.client.post(f"{STREAMS}/{made['id']}/undeploy").raise_for_status()
    for collector_id in collectors:
        server.client.delete(f"/online-collection/v1/collectors/{collector_id}").raise_for_status()


def send_events(server, collectors, numbers):
    """One of each system for each number, of accounts that both know."""
    for number in numbers:
        core = {"eventId": number, "accountId": number % 8, "funnelEventId": number % 11, "serviceId": f"S{number % 3}"}
        cpq = {"eventKey": number, "userId": 100 + number % 8, "funnelEventId": 10 + number % 4}
        cpq["sourceServiceId"] = f"Q{number % 2}"
        for collector_id, event in zip(collectors, (core, cpq), strict=True):
            body = {"data": event | {"timestamp": "2026-03-01T10:00:00.000Z"}}
            server.client.post(f"/online-collection/v1/collectors/{collector_id}/send", json=body).raise_for_status()


def correlated(events):
    """What is flushed, and the sessions that stay open: from the 101st event on, each flushes its account."""
    sessions, flushed = {}, []
    for count, event in enumerate(events):
        name = event["accountName"]
        session = sessions.setdefault(
            name,
            {
                "eventCount": 0,
                "accountName": name,
                "eventCountByFunnelEvent": Counter(),
                "eventCountByServiceId": Counter(),
            },
        )
        session["eventCount"] += 1
        session["eventCountByFunnelEvent"][event["funnelEventName"]] += 1
        session["eventCountByServiceId"][event.get("serviceId", event.get("sourceServiceId"))] += 1
        if count >= 100:
            flushed.append(sessions.pop(name) | {"month": event["timestamp"][:7]})
    return flushed, sessions


def assert_sessions(server, store_id, open_sessions, names):
    assert set(open_sessions) <= set(names)
    for name in names:
        answer = server.session(store_id, name)
        if name not in open_sessions:
            assert_equal(answer.status_code, 404)
            continue
        session = answer.raise_for_status().json()
        assert_equal(session["data"], open_sessions[name])
        assert_equal(session["meta"]["count"], open_sessions[name]["eventCount"])
        assert session["meta"]["firstEvent"] <= session["meta"]["lastEvent"]


def pick(record, *names):
    return {name: record[name] for name in names if name in record}


def canonical(record):
    return json.dumps(record, sort_keys=True, default=str)


def assert_equal(found, expected):
    assert found == expected, f"{str(found)[:1500]}\n    is not\n    {str(expected)[:1500]}"
