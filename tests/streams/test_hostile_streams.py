"""Streams that mean harm, in a real worker: each ends with an error that says where, and the others go on."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import time

import pytest

from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    counting,
    finished,
    imported,
    node,
    run_to_the_end,
    start,
    start_worker,
    worker,
)


def validating(schema, payload):
    """A script that pushes the payload once, and a Validate function."""
    script = node("make", "transforms/script", transform=f"await push({payload})")
    check = node("check", "transforms/validate", schema=schema)
    return counting(1, script, check, edges=[("count", "make"), ("make", "check"), ("check", "log")])


LOOKING_AHEAD = {"properties": {"v": {"pattern": "^(?=(a+)+$)"}}}


@pytest.mark.parametrize(
    ("schema", "status", "error"),
    [
        ({"properties": {"v": {"pattern": "^(a+)+$"}}}, "completed", None),
        (LOOKING_AHEAD, "aborted", "Check: a pattern of the schema takes too long"),
    ],
)
def test_a_pattern_that_goes_astray_ends_and_others_go_on(client, imported, worker, schema, status, error):
    stream_id = imported(validating(schema, "{ v: 'a'.repeat(60) + 'b' }"))["id"]
    run_id = start(client, stream_id)
    began = time.monotonic()
    others = 0
    while client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").json()["status"] == "running":
        assert run_to_the_end(client, imported(counting(3))["id"])["status"] == "completed"
        others += 1
        assert time.monotonic() - began < 60
    run = finished(client, stream_id, run_id)
    assert run["status"] == status, run
    if error is None:
        assert run["nodes"]["check"] == {"in": 1, "out": 0, "rejected": 1}
    else:
        assert error in run["error"]
        assert others > 3
