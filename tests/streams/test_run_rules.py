"""What decides how a run goes: its version, records that are rejected in a row, time-outs while it is deployed."""

import uuid

import pytest

from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    collector_id,
    counting,
    edge,
    imported,
    make_document,
    node,
    outputs,
    run_to_the_end,
    send,
    start_worker,
    until,
    worker,
)

# ruff: noqa: F811 - the fixtures that are imported are the parameters

# Of 0 to 11: 0, 4 and 8 are valid, so that three in a row are not.
MULTIPLES = {"properties": {"value": {"multipleOf": 4}}}


def checking(**rules):
    check = node("check", "transforms/validate", schema=MULTIPLES, suspenseManagement={"enabled": True} | rules)
    return counting(12, check, edges=[("count", "check"), ("check", "log")])


@pytest.mark.parametrize(
    ("rules", "aborted"),
    [
        ({"eventThreshold": 3, "resetOnValidEvent": True}, "3 records in a row"),
        ({"eventThreshold": 4, "resetOnValidEvent": True}, None),
        ({"eventThreshold": 4, "resetOnValidEvent": False}, "4 records in a row"),
        ({"eventThreshold": 9, "resetOnValidEvent": False}, "9 records in a row"),
        ({"eventThreshold": 10, "resetOnValidEvent": False}, None),
        ({"eventThreshold": 3}, "3 records in a row"),
        ({}, None),
    ],
)
def test_a_run_is_aborted_by_the_record_with_which_too_many_in_a_row_were_rejected(
    client, imported, worker, rules, aborted
):
    run = run_to_the_end(client, imported(checking(**rules))["id"])
    if aborted is None:
        assert (run["status"], run["nodes"]["check"]) == ("completed", {"in": 12, "out": 3, "rejected": 9})
    else:
        assert (run["status"], aborted in run["error"], "not a multiple of 4" in run["error"]) == (
            "aborted",
            True,
            True,
        )
        assert client.get("/data-correction/v1/records", params={"streamId": run["streamId"]}).json() == {"records": []}


@pytest.mark.parametrize(
    ("rules", "status", "waiting"),
    [
        ({"enabled": False}, "completed", 0),
        ({"enabled": False, "abortOnDisabled": True}, "aborted", 0),
        ({"enabled": True, "abortOnDisabled": True}, "completed", 9),
    ],
)
def test_without_data_correction_rejected_records_are_counted_or_abort_the_run(
    client, imported, worker, rules, status, waiting
):
    run = run_to_the_end(client, imported(checking(**rules))["id"])
    assert run["status"] == status
    records = client.get("/data-correction/v1/records", params={"streamId": run["streamId"]}).json()["records"]
    assert len(records) == waiting
    if status == "completed":
        assert run["nodes"]["check"]["rejected"] == 9


def test_a_run_tells_its_totals_and_the_counters_of_its_scripts(client, imported, worker):
    count = (
        "audit.count('seen'); audit.sum('sum', payload.value); audit.set('last', payload.value); await push(payload)"
    )
    script = node("script", "transforms/script", transform=count)
    check = node("check", "transforms/validate", schema=MULTIPLES)
    edges = [("count", "script"), ("script", "check"), ("check", "log")]
    run = run_to_the_end(client, imported(counting(12, script, check, edges=edges))["id"])
    assert (run["totalInput"], run["totalOutput"], run["totalRejected"]) == (12, 3, 9)
    assert run["audit"] == {"seen": 12, "sum": 66, "last": 11}
    assert run["startedAt"] <= run["endedAt"]
    listed = client.get(f"{STREAMS}/{run['streamId']}/runs").json()["runs"]
    assert listed == [run]


def test_a_start_runs_the_deployed_version_and_without_one_the_latest(client, imported, worker):
    name = f"Versions {uuid.uuid4()}"

    def save(maximum, **members):
        return imported(counting(maximum) | {"name": name}, conflictStrategy="overwrite", **members)["id"]

    def started(**params):
        answer = client.post(f"{STREAMS}/{stream_id}/start", params=params)
        assert answer.status_code == 202, answer.text
        path = f"{STREAMS}/{stream_id}/runs/{answer.json()['runId']}"
        run = until(lambda: (found := client.get(path).json())["status"] == "completed" and found)
        return run["totalInput"]

    stream_id = save(1, tag="v1")
    save(2)
    assert started() == 2
    client.post(f"{STREAMS}/{stream_id}/deploy", params={"tag": "v1"}).raise_for_status()
    save(3)
    assert (started(), started(tag="v1")) == (1, 1)
    client.post(f"{STREAMS}/{stream_id}/undeploy").raise_for_status()
    assert started() == 3


@pytest.fixture
def hasty_worker(start_worker):
    process = start_worker(METERHOUSE_FLUSH_SECONDS="1")
    yield
    process.terminate()
    assert process.wait(timeout=20) == 0


def test_a_deployed_streams_sessions_time_out_by_themselves(client, imported, hasty_worker, collector_id):
    """Other workers of these tests may step the stream too, but look at time-outs only once a minute."""
    fill = "session.data.n = payload.n; session.setTimeout(1)"
    rules = [{"fields": ["who"]}]
    aggregator = node(
        "fill", "transforms/script_aggregate", groupByRules=rules, onTransform=fill, onTimeout="await session.flush()"
    )
    document = make_document(
        [
            node("collect", "readers/online_collection", collectorId=collector_id),
            aggregator,
            node("log", "writers/log"),
        ],
        [edge("collect", "fill"), edge("fill", "log")],
    )
    made = imported(document)
    run = {"streamId": made["id"], "id": client.post(f"{STREAMS}/{made['id']}/deploy").json()["runId"]}
    send(client, collector_id, {"who": "ann", "n": 7})
    assert until(lambda: outputs(client, run), seconds=90) == [("log", {"n": 7})]
    path = f"/aggregation/v1/stores/{made['aggregationStores']['fill']}/sessions/lookup"
    assert client.get(path, params={"fieldValues": "ann"}).status_code == 404
    client.post(f"{STREAMS}/{made['id']}/undeploy").raise_for_status()
