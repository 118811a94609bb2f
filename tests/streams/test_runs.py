"""Streams that run: imported, deployed or started, stepped by real workers."""

import json
import subprocess
import time
import uuid

import pytest

from tests.conftest import COMMAND
from tests.tenants import paths_of, refused

STREAMS = "/stream-management/v1/streams"


def node(name, kind, **params):
    return {"id": name, "type": kind, "schemaVersion": 1, "name": name.capitalize(), "params": params, "x": 0, "y": 0}


def edge(source, target, output=None):
    made = {"id": f"{source}-{target}-{output}", "from": source, "to": target, "config": {}}
    return made if output is None else made | {"output": output}


def make_document(nodes, edges, **members):
    return {"name": f"Stream {uuid.uuid4()}", "nodes": nodes, "edges": edges, "nodeGroups": []} | members


def counting(maximum, *more_nodes, edges=()):
    """A counter that leads to whatever the edges say, and a log."""
    nodes = [node("count", "readers/counter", max=maximum), *more_nodes, node("log", "writers/log")]
    return make_document(nodes, [edge(*one) for one in edges or [("count", "log")]])


@pytest.fixture
def imported(client):
    def run_import(document, **members):
        answer = client.post(f"{STREAMS}/import", json={"stream": document} | members)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return run_import


@pytest.fixture(scope="module")
def start_worker(installation, tmp_path_factory):
    started = []

    def start(**settings):
        path = tmp_path_factory.mktemp("worker") / "worker.log"
        environment = installation.environment | settings
        with path.open("wb") as log:
            process = subprocess.Popen([*COMMAND, "worker"], env=environment, stdout=log, stderr=log)
        started.append(process)
        while "the worker is running" not in path.read_text():
            assert process.poll() is None, path.read_text()
            time.sleep(0.05)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            assert process.wait(timeout=20) == 0


@pytest.fixture(scope="module")
def worker(start_worker):
    return start_worker()


def start(client, stream_id):
    answer = client.post(f"{STREAMS}/{stream_id}/start")
    assert answer.status_code == 202, answer.text
    return answer.json()["runId"]


def finished(client, stream_id, run_id, seconds=60):
    end = time.monotonic() + seconds
    while (run := client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").json())["status"] == "running":
        assert time.monotonic() < end, run
        time.sleep(0.05)
    return run


def run_to_the_end(client, stream_id):
    return finished(client, stream_id, start(client, stream_id))


def outputs(client, run):
    path = f"{STREAMS}/{run['streamId']}/runs/{run['id']}/outputs"
    found, skip = [], 0
    while page := client.get(path, params={"limit": 100, "skip": skip}).json()["outputs"]:
        found += [(line["nodeId"], line["payload"]) for line in page]
        skip += len(page)
    return found


def test_a_batch_stream_runs_from_its_reader_to_its_writer(client, imported, worker):
    document = counting(
        5, node("map", "transforms/map", mappings=[{"n": "value"}]), edges=[("count", "map"), ("map", "log")]
    )
    run = run_to_the_end(client, imported(document)["id"])
    assert run["status"] == "completed"
    assert run["nodes"]["map"] == {"in": 5, "out": 5, "rejected": 0}
    assert outputs(client, run) == [("log", {"n": number}) for number in range(5)]


def test_every_target_of_an_output_gets_every_record(client, imported, worker):
    document = counting(3, node("other", "writers/log"), edges=[("count", "log"), ("count", "other")])
    run = run_to_the_end(client, imported(document)["id"])
    assert sorted(name for name, _ in outputs(client, run)) == ["log"] * 3 + ["other"] * 3


def test_an_unknown_function_imports_and_refuses_to_run_by_name(client, imported, worker):
    document = counting(1, node("alien", "transforms/alien"), edges=[("count", "alien"), ("alien", "log")])
    run = run_to_the_end(client, imported(document)["id"])
    assert run["status"] == "aborted"
    assert "Alien" in run["error"]
    assert "transforms/alien" in run["error"]


def test_a_second_start_while_it_runs_is_a_conflict(client, imported):
    stream_id = imported(counting(10_000_000))["id"]
    start(client, stream_id)
    refused(client.post(f"{STREAMS}/{stream_id}/start"), 409)
    refused(client.delete(f"{STREAMS}/{stream_id}"), 409)
    client.post(f"{STREAMS}/{stream_id}/undeploy")
    assert client.delete(f"{STREAMS}/{stream_id}").json() == {"deletedCount": 1}
    refused(client.get(f"{STREAMS}/{stream_id}"), 404)


def test_a_name_that_is_taken_needs_a_strategy(client, imported):
    document = counting(1)
    first = imported(document)
    refused(client.post(f"{STREAMS}/import", json={"stream": document}), 409)
    assert imported(document, conflictStrategy="skip") == first
    assert imported(document, conflictStrategy="overwrite")["id"] == first["id"]
    copy = imported(document, conflictStrategy="createNew")
    assert copy["id"] != first["id"]
    assert copy["name"] == f"{document['name']} (1)"


def test_replacing_keeps_meter_keys_and_does_not_lose_functions_by_accident(client, imported):
    meter = node("meter", "transforms/meter", guidingRules=[{"ignoreCondition": True, "matchCategory": "DEFAULT"}])
    document = counting(1, meter, edges=[("count", "meter")])
    first = imported(document)
    assert list(first["meterKeys"]) == ["meter"]
    assert imported(document, conflictStrategy="overwrite")["meterKeys"] == first["meterKeys"]
    assert imported(document, conflictStrategy="createNew")["meterKeys"] != first["meterKeys"]
    smaller = document | {"nodes": [item for item in document["nodes"] if item["id"] != "meter"], "edges": []}
    refused(client.post(f"{STREAMS}/import", json={"stream": smaller, "conflictStrategy": "overwrite"}), 409)
    assert imported(smaller, conflictStrategy="overwrite", allowNodeDeletions=True)["id"] == first["id"]


def test_a_free_meter_key_in_the_document_is_taken_and_a_used_one_is_not(client, imported):
    key = str(uuid.uuid4())
    rules = [{"ignoreCondition": True, "matchCategory": "DEFAULT"}]
    document = counting(
        1, node("meter", "transforms/meter", meterKey=key, guidingRules=rules), edges=[("count", "meter")]
    )
    assert imported(document)["meterKeys"] == {"meter": key}
    assert imported(document, conflictStrategy="createNew")["meterKeys"] != {"meter": key}


def test_what_was_imported_is_exported(client, imported):
    document = counting(1) | {"unknown": {"b": 1, "a": [2, 1]}, "description": "kept"}
    stream_id = imported(document, tag="v1")["id"]
    exported = client.get(f"{STREAMS}/{stream_id}/export").json()
    assert exported == document | {"tag": "v1"}
    assert json.dumps(exported["unknown"]) == json.dumps(document["unknown"])


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "body"),
        ({"stream": []}, "stream"),
        ({"stream": {"name": "x"}}, "stream.nodes"),
        ({"stream": {"name": "", "nodes": [], "edges": []}}, "stream.name"),
        ({"stream": {"name": "x", "nodes": [{"id": "a"}], "edges": []}}, "stream"),
        ({"stream": make_document([node("a", "x")], [edge("a", "nowhere")])}, "stream"),
        ({"stream": make_document([node("a", "x"), node("b", "x")], [edge("a", "b"), edge("b", "a")])}, "stream"),
        ({"stream": counting(1), "conflictStrategy": "merge"}, "conflictStrategy"),
        ({"stream": counting(1), "tag": ""}, "tag"),
        ({"stream": counting(1), "extra": 1}, "body"),
    ],
)
def test_a_bad_import_names_what_is_bad(client, body, path):
    assert paths_of(refused(client.post(f"{STREAMS}/import", json=body), 400)) == [path]


def make_meter(client, key, user, **members):
    made = {"name": f"Type {uuid.uuid4().hex}", "aggregation": {"type": "sum"}, "unit": "GB", "timezone": "Etc/UTC"}
    made |= {"resetSchedule": {"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"}} | members
    kind = client.post("/usage-metering/v1/meter-types", json=made)
    assert kind.status_code == 201, kind.text
    body = {"meterKey": key, "meterTypeId": kind.json()["id"], "userId": user}
    answer = client.post("/usage-metering/v1/meters", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def metering(collector_id, **params):
    rules = [{"ignoreCondition": True, "matchCategory": "DEFAULT", "groupBy": [{"fields": ["region"]}]}]
    outputs = {"fixed": {"reset": {"id": "out-reset"}, "threshold": {"id": "out-threshold"}}}
    return make_document(
        [
            node("collect", "readers/online_collection", collectorId=collector_id),
            node("meter", "transforms/meter", **({"guidingRules": rules, "multiOutput": outputs} | params)),
            node("log", "writers/log"),
        ],
        [edge("collect", "meter"), edge("meter", "log", "out-threshold"), edge("meter", "log", "out-reset")],
    )


@pytest.fixture
def collector_id(client):
    answer = client.post("/online-collection/v1/collectors", json={"name": f"c {uuid.uuid4().hex[:20]}"})
    assert answer.status_code == 201, answer.text
    yield answer.json()["id"]
    client.delete(f"/online-collection/v1/collectors/{answer.json()['id']}")


def send(client, collector_id, data):
    answer = client.post(f"/online-collection/v1/collectors/{collector_id}/send", json={"data": data})
    assert answer.status_code == 202, answer.text
    return answer.json()["ingestionId"]


def until(question, seconds=20):
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return answer


def test_usage_that_is_sent_moves_a_meter_within_seconds(client, imported, collector_id, worker):
    made = imported(metering(collector_id))
    thresholds = [{"name": "half", "absoluteValue": 50, "customFields": {"action": "MAIL"}}]
    meter_id = make_meter(client, made["meterKeys"]["meter"], "ann", thresholds=thresholds)
    run_id = client.post(f"{STREAMS}/{made['id']}/deploy").json()["runId"]
    for value, region in ((0.1, "EMEA"), ("0.2", "APAC"), (50, "EMEA")):
        send(client, collector_id, {"userId": "ann", "value": value, "region": region})
    nobody = send(client, collector_id, {"userId": "nobody", "value": 1})
    send(client, collector_id, {"userId": "ann"})
    send(client, collector_id, "not json")
    meter = until(
        lambda: (found := client.get(f"/usage-metering/v1/meters/{meter_id}").json())["value"] == 50.3 and found
    )
    groups = {group["key"]: group["value"] for group in meter["groupBreakdowns"][0]["groups"]}
    assert groups == {"region:EMEA": 50.1, "region:APAC": 0.2}
    run = until(
        lambda: (
            (found := client.get(f"{STREAMS}/{made['id']}/runs/{run_id}").json())["nodes"]["meter"]["in"] == 6 and found
        )
    )
    assert run["nodes"]["meter"]["rejected"] == 3
    told = client.get(f"/online-collection/v1/collectors/{collector_id}/ingestions/{nobody}").json()
    assert (told["status"], told["processedBy"]) == ("PROCESSED", [{"streamId": made["id"], "runId": run_id}])
    assert [(one["nodeId"], "nobody" in one["error"]) for one in told["rejected"]] == [("meter", True)]
    [(_, threshold)] = outputs(client, run)
    assert (threshold["value"], list(threshold)[-1]) == (50.3, "thresholdReached")
    assert threshold["thresholdReached"]["customFields"] == {"action": "MAIL"}
    client.post(f"{STREAMS}/{made['id']}/undeploy")
    assert client.get(f"{STREAMS}/{made['id']}/runs/{run_id}").json()["status"] == "completed"


def test_a_run_that_is_killed_again_and_again_ends_as_if_undisturbed(client, imported, worker, start_worker):
    """Two workers, one of them killed -9 ten times: every record arrives at the writer once."""
    key = {"key": "${payload.n}", "multiOutput": {"fixed": {"unique": {"id": "u"}}}}
    modulo = node(
        "xmap",
        "transforms/xmap",
        mappings=[{"field": "n", "ast": ["aop", "%", ["IP", "${payload.value}"], ["N", 1500]]}],
    )
    document = counting(
        20_000,
        modulo,
        node("dedup", "transforms/deduplicate", **key),
        edges=[("count", "xmap"), ("xmap", "dedup"), ("dedup", "log", "u")],
    )
    stream_id = imported(document)["id"]
    run_id = start(client, stream_id)
    for _ in range(10):
        victim = start_worker()
        time.sleep(0.8)
        victim.kill()
        victim.wait()
    run = finished(client, stream_id, run_id)
    assert (run["status"], run["nodes"]["dedup"]["in"], run["nodes"]["dedup"]["out"]) == ("completed", 20_000, 1_500)
    assert sorted(payload["n"] for _, payload in outputs(client, run)) == list(range(1_500))
