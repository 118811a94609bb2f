"""Streams that mean harm, in a real worker: each ends with an error that says where, and the others go on."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import itertools
import time

import psycopg
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


def beside_others(client, imported, document):
    """The run when it has ended, and how many other streams have run from beginning to end meanwhile."""
    stream_id = imported(document)["id"]
    run_id, others, began = start(client, stream_id), 0, time.monotonic()
    while client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").json()["status"] == "running" or not others:
        assert run_to_the_end(client, imported(counting(3))["id"])["status"] == "completed"
        others += 1
        assert time.monotonic() - began < 120
    return finished(client, stream_id, run_id), others


def doubling():
    """A record that doubles in each of many fields."""
    grow = [{"field": "f0", "ast": ["S", "x" * 1000]}]
    steps = [
        node(
            f"grow{n}",
            "transforms/xmap",
            mappings=[{"field": "f0", "ast": ["call", ["R", "concat"], [["IP", "${payload.f0}"]] * 100]}],
        )
        for n in range(6)
    ]
    names = ["count", "first", *(step["id"] for step in steps), "log"]
    return counting(1, node("first", "transforms/xmap", mappings=grow), *steps, edges=list(itertools.pairwise(names)))


LOOKING_AHEAD = {"properties": {"v": {"pattern": "^(?=(a+)+$)"}}}


@pytest.mark.parametrize(
    ("schema", "status", "error"),
    [
        ({"properties": {"v": {"pattern": "^(a+)+$"}}}, "completed", None),
        (LOOKING_AHEAD, "aborted", "Check: a pattern of the schema takes too long"),
    ],
)
def test_a_pattern_that_goes_astray_ends_and_others_go_on(client, imported, worker, schema, status, error):
    run, others = beside_others(client, imported, validating(schema, "{ v: 'a'.repeat(60) + 'b' }"))
    assert run["status"] == status, run
    if error is None:
        assert run["nodes"]["check"] == {"in": 1, "out": 0, "rejected": 1}
    else:
        assert error in run["error"]
        assert others > 3


def scripted(source):
    return counting(1, node("evil", "transforms/script", transform=source), edges=[("count", "evil"), ("evil", "log")])


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (scripted("let n = 0;\nfor (;;) {\n  n++;\n}"), "Evil: line 3: the script ran for more than 10 seconds"),
        (scripted("const all = [];\nfor (;;) all.push(new Array(1e4).fill({ x: 1.5 }))"), "Evil: line 2: the script "),
        (scripted("\nthrow new Error('on purpose')"), "Evil: line 2: Error: on purpose"),
        (scripted("await push({ text: 'x'.repeat(1e8) })"), "Evil: line 1: RangeError: more than 16777216 characters"),
        (scripted("this.constructor.constructor('return process')().exit()"), "Evil: line 1: ReferenceError: process"),
        (scripted("await { then() {} }"), "Evil: line 1: the script waits for a promise that nothing settles"),
        (doubling(), "Grow"),
        (counting(1, node("odd", "transforms/xmap", keepFields="yes"), edges=[("count", "odd")]), "Odd: the params"),
    ],
)
def test_a_stream_that_means_harm_ends_with_an_error_that_says_where_and_others_go_on(
    client, imported, worker, document, error
):
    run, others = beside_others(client, imported, document)
    assert run["status"] in ("aborted", "failed"), run
    assert run["error"].startswith(error)
    assert others > 0
    assert worker.poll() is None


def test_a_step_that_fails_again_and_again_for_no_fault_of_the_stream_fails_the_run(
    client, imported, worker, installation
):
    stream_id = imported(counting(1))["id"]
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(
            """
            CREATE FUNCTION refuse_outputs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
            CREATE TRIGGER refuse_outputs BEFORE INSERT ON stream_outputs EXECUTE FUNCTION refuse_outputs();
            """
        )
        try:
            run_id = start(client, stream_id)
            path = f"{STREAMS}/{stream_id}/runs/{run_id}"
            for _ in range(600):
                if client.get(path).json()["status"] != "running":
                    break
                database.execute(
                    "UPDATE stream_runs SET next_step_at = now() WHERE id = %s AND failures > 0", (run_id,)
                )
                time.sleep(0.05)
        finally:
            database.execute("DROP TRIGGER refuse_outputs ON stream_outputs; DROP FUNCTION refuse_outputs")
    run = client.get(path).json()
    assert (run["status"], run["nodes"]) == ("failed", {})
    assert "a step failed 5 times" in run["error"]
    assert run_to_the_end(client, stream_id)["status"] == "completed"
