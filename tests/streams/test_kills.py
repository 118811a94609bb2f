"""A stream with everything in it, run by two workers that are killed -9 again and again, ends as if undisturbed."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import random
import subprocess
import time

import pytest

from tests.conftest import COMMAND
from tests.streams.by_hand import exact
from tests.streams.test_metering_stream import OUTPUTS, add_meters, all_lines, meter_of
from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    edge,
    imported,
    make_document,
    node,
    start,
)

RECORDS = 20_000
KILLS = 20
ACCOUNTS = 40

# Every record knows its place; 8 000 of them are a second copy, and every seventh is invalid.
MAPPINGS = {
    "n": ["aop", "%", ["IP", "${payload.value}"], ["N", 12_000]],
    "account": ["call", ["R", "string"], [["aop", "%", ["IP", "${payload.value}"], ["N", ACCOUNTS]]]],
    "userId": ["call", ["R", "if"], [["cop", "<", ["aop", "%", ["IP", "${payload.value}"], ["N", 3]], ["N", 1]], ["S", "ann"], ["S", "bob"]]],
    "region": ["call", ["R", "if"], [["cop", "<", ["aop", "%", ["IP", "${payload.value}"], ["N", 5]], ["N", 2]], ["S", "EMEA"], ["S", "APAC"]]],
    "value": ["aop", "/", ["aop", "%", ["IP", "${payload.value}"], ["N", 7]], ["N", 10]],
}  # fmt: skip
FILL = """
session.data.total = Math.round(((session.data.total ?? 0) + payload.value) * 10) / 10;
session.data.last = payload.n;
session.setTimeout(Date.UTC(2100, 0, 1));
state.node.count = (state.node.count ?? 0) + 1;
await persist.set("count", (await persist.get("count") ?? 0) + 1);
audit.count("filled");
audit.sum("total", payload.value);
if (session.meta.count === 100) {
  log.info("%s is full, number %d of %d", session.key, state.node.count, await persist.get("count"));
  await session.flush();
}
"""
RULE = {
    "ignoreCondition": True,
    "matchCategory": "L1",
    "groupBy": [{"fields": ["region"]}, {"fields": ["account"]}],
    "otherOperations": [{"field": "n", "operation": "carry-first"}, {"field": "n", "operation": "carry-last"}],
}
UNIQUE = {"fixed": {"unique": {"id": "out-unique"}}}


def everything():
    mappings = [{"field": field, "ast": ast} for field, ast in MAPPINGS.items()]
    return make_document(
        [
            node("count", "readers/counter", max=RECORDS),
            node("map", "transforms/xmap", mappings=mappings),
            node("check", "transforms/validate", schema={"properties": {"value": {"maximum": 0.5}}}),
            node("first", "transforms/deduplicate", key="${payload.n}", multiOutput=UNIQUE),
            node("fill", "transforms/script_aggregate", groupByRules=[{"fields": ["account"]}], onTransform=FILL),
            node("meter", "transforms/meter", guidingRules=[RULE], multiOutput=OUTPUTS),
            node("all", "writers/log"),
            node("sessions", "writers/log"),
            node("reached", "writers/log"),
        ],
        [
            edge("count", "map"),
            edge("map", "check"),
            edge("check", "first"),
            edge("first", "fill", "out-unique"),
            edge("first", "meter", "out-unique"),
            edge("first", "all", "out-unique"),
            edge("fill", "sessions"),
            edge("meter", "reached", "out-threshold"),
        ],
    )


class Workers:
    """Two, each replaced when it is killed."""

    def __init__(self, environment, folder):
        self._environment, self._folder = environment, folder
        self._chance = random.Random(4)
        self._running = [self._start(), self._start()]
        self.kills = 0

    def _start(self):
        with (self._folder / "workers.log").open("ab") as log:
            return subprocess.Popen([*COMMAND, "worker"], env=self._environment, stdout=log, stderr=log)

    def kill_some(self):
        """One or both, a moment from now."""
        time.sleep(self._chance.random() * 0.4)
        for place in self._chance.choice([(0,), (1,), (0, 1)]):
            self._running[place].kill()
            self._running[place].wait()
            self._running[place] = self._start()
            self.kills += 1

    def stop(self):
        for worker in self._running:
            worker.terminate()
        for worker in self._running:
            worker.wait(timeout=20)


@pytest.fixture
def workers(installation, tmp_path):
    workers = Workers(installation.environment, tmp_path)
    yield workers
    workers.stop()


def run_through(client, stream_id, disturb):
    """`disturb` is called each time when the run has gone on a little."""
    run_id, seen, end = start(client, stream_id), 0, time.monotonic() + 240
    while (run := exact(client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").text))["status"] == "running":
        assert time.monotonic() < end, run
        gone = run["nodes"].get("count", {"out": 0})["out"]
        if gone > seen:
            seen = gone
            disturb()
        time.sleep(0.05)
    return run


def outcome(client, made, run, meters):
    """All that the run has left behind, without ids and instants."""
    stores = f"/aggregation/v1/stores/{made['aggregationStores']['fill']}/sessions/lookup"
    sessions = {}
    for account in range(ACCOUNTS):
        answer = client.get(stores, params={"fieldValues": str(account)})
        found = answer.json()
        sessions[account] = (found["data"], found["meta"]["count"]) if answer.status_code == 200 else None
    shown = ("value", "groupBreakdowns", "carryFirst", "carryLast")
    by_name = [meter_of(client, meter_id) for meter_id in meters]
    outputs = all_lines(client, run)
    log = client.get(f"{STREAMS}/{run['streamId']}/runs/{run['id']}/log", params={"limit": 100}).json()["log"]
    return {
        "run": [run["status"], run["nodes"], run["audit"]],
        "log": [line["message"] for line in log],
        "sessions": sessions,
        "meters": [[meter[name] for name in shown] + [meter["meterMetaData"].get("count")] for meter in by_name],
        "all": outputs["all"],
        "flushed": outputs["sessions"],
        "reached": [(one["userId"], one["value"], one["thresholdReached"]["name"]) for one in outputs["reached"]],
        "rejected": rejected(client, run["streamId"]),
    }


def rejected(client, stream_id):
    found, skip = [], 0
    params = {"streamId": stream_id, "limit": 100}
    while page := exact(client.get("/data-correction/v1/records", params=params | {"skip": skip}).text)["records"]:
        found += [(one["nodeId"], one["error"], one["payload"]["n"]) for one in page]
        skip += len(page)
    return sorted(found)


def test_totals_sessions_rejected_records_outputs_and_audit_are_those_of_an_undisturbed_run(
    client,
    imported,
    workers,
):
    outcomes = []
    for disturb in (lambda: None, lambda: workers.kills < KILLS and workers.kill_some()):
        made = imported(everything())
        meters = add_meters(client, made["meterKeys"]["meter"], made["id"])
        run = run_through(client, made["id"], disturb)
        outcomes.append(outcome(client, made, run, meters))
    undisturbed, disturbed = outcomes
    assert workers.kills >= KILLS / 2, "the run ended too early to be disturbed"
    assert undisturbed["run"][0] == "completed"
    assert (len(undisturbed["all"]), len(undisturbed["flushed"]), len(undisturbed["reached"])) > (9_000, 50, 1)
    assert len(undisturbed["rejected"]) == undisturbed["run"][1]["check"]["rejected"] > 2_500
    for name, left in undisturbed.items():
        assert disturbed[name] == left, name
