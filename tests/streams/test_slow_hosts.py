"""A host that does not answer holds up its own stream and nobody else, nor a worker that is told to stop."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.conftest import COMMAND
from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    collector_id,
    counting,
    edge,
    finished,
    imported,
    make_document,
    node,
    outputs,
    run_to_the_end,
    send,
    start,
    until,
)
from tests.tenants import refused

SLOW = "slow.example"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class HangingServer:
    """Takes connections and reads; answers only what comes after `answer` was set."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.calls = 0
        self.answer = threading.Event()
        self.opened = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.opened.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.recv(65_536)
        self.calls += 1
        if self.answer.is_set():
            connection.sendall(ANSWER)
            connection.close()

    def close(self):
        self.listener.close()
        for connection in self.opened:
            connection.close()


@pytest.fixture
def hanging():
    server = HangingServer()
    yield server
    server.close()


@pytest.fixture
def start_worker(installation, hanging, stuck, tmp_path):
    """Starts workers for which the slow host leads to the hanging server."""
    started = []

    def run(*command):
        settings = {"METERHOUSE_HTTP_HOSTS": json.dumps({SLOW: hanging.url})}
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                command or [*COMMAND, "worker"], env=installation.environment | settings, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def calling(count=1, host=SLOW):
    http = node("http", "transforms/http", method="GET", uri=f"http://{host}/${{payload.value}}")
    return counting(count, http, edges=[("count", "http"), ("http", "log")])


@pytest.fixture
def stuck(client, imported):
    """Starts a stream that calls the slow host; it is undeployed in the end."""
    runs = []

    def begin(**params):
        stream_id = imported(calling(**params))["id"]
        runs.append((stream_id, start(client, stream_id)))
        return runs[-1]

    yield begin
    for stream_id, _ in runs:
        client.post(f"{STREAMS}/{stream_id}/undeploy")


def test_other_streams_of_the_worker_go_on(client, imported, hanging, start_worker, stuck, collector_id):
    for _ in range(3):
        stuck(count=20)
    start_worker()
    until(lambda: hanging.calls >= 3 * 8)
    assert run_to_the_end(client, imported(counting(5))["id"])["status"] == "completed"
    nodes = [node("collect", "readers/online_collection", collectorId=collector_id), node("log", "writers/log")]
    made = imported(make_document(nodes, [edge("collect", "log")]))
    run_id = client.post(f"{STREAMS}/{made['id']}/deploy").json()["runId"]
    send(client, collector_id, {"n": 1})
    run = {"streamId": made["id"], "id": run_id}
    until(lambda: outputs(client, run) == [("log", {"n": 1})])
    client.post(f"{STREAMS}/{made['id']}/undeploy").raise_for_status()
    assert hanging.calls < 3 * 20, "the slow streams have gone on too: nothing was proved"


def test_a_stream_that_waits_for_a_host_is_undeployed_at_once_and_ends_with_its_step(
    client,
    hanging,
    start_worker,
    stuck,
    imported,
):
    stream_id, run_id = stuck(count=200)
    start_worker()
    until(lambda: hanging.calls == 8)
    assert client.post(f"{STREAMS}/{stream_id}/undeploy").json() == {"id": stream_id, "deployed": False}
    refused(client.delete(f"{STREAMS}/{stream_id}"), 409)
    hanging.answer.set()
    for connection in hanging.opened[:8]:
        connection.sendall(ANSWER)
    run = finished(client, stream_id, run_id)
    assert (run["status"], run["nodes"]["count"]["out"], run["nodes"]["http"]["out"]) == ("completed", 100, 100)


def test_a_stream_that_waits_for_a_host_is_not_deployed_anew_and_stays_as_it_is(
    client, hanging, start_worker, imported, collector_id
):
    nodes = [
        node("collect", "readers/online_collection", collectorId=collector_id),
        node("http", "transforms/http", method="GET", uri=f"http://{SLOW}/"),
        node("log", "writers/log"),
    ]
    made = imported(make_document(nodes, [edge("collect", "http"), edge("http", "log")]), tag="first")
    stream = f"{STREAMS}/{made['id']}"
    run_id = client.post(f"{stream}/deploy", params={"tag": "first"}).json()["runId"]
    start_worker()
    send(client, collector_id, {"n": 1})
    until(lambda: hanging.calls == 1)
    body = refused(client.post(f"{stream}/deploy"), 409)
    assert "in the middle of a step" in body["message"]
    [run] = client.get(f"{stream}/runs").json()["runs"]
    assert (run["id"], run["status"]) == (run_id, "running")
    [version] = client.get(f"{stream}/versions").json()["versions"]
    assert version["deployed"]
    client.post(f"{stream}/undeploy").raise_for_status()
    hanging.opened[0].sendall(ANSWER)
    assert finished(client, made["id"], run_id)["nodes"]["http"]["out"] == 1


def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_call_and_another_makes_it_again(
    client, hanging, start_worker, stuck
):
    stream_id, run_id = stuck(count=12)
    worker = start_worker()
    until(lambda: hanging.calls == 8)
    worker.terminate()
    began = time.monotonic()
    assert worker.wait(timeout=15) == 0
    assert time.monotonic() - began < 12
    assert client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").json()["nodes"] == {}
    hanging.answer.set()
    start_worker()
    run = finished(client, stream_id, run_id)
    assert run["nodes"]["http"] == {"in": 12, "out": 12, "rejected": 0}
    assert sorted(payload["value"] for _, payload in outputs(client, run)) == list(range(12))


def test_a_step_that_ends_soon_is_finished_before_the_worker_stops(client, hanging, start_worker, stuck):
    stream_id, run_id = stuck(count=1)
    worker = start_worker()
    until(lambda: hanging.calls == 1)
    worker.terminate()
    time.sleep(1)
    hanging.opened[0].sendall(ANSWER)
    assert worker.wait(timeout=15) == 0
    run = client.get(f"{STREAMS}/{stream_id}/runs/{run_id}").json()
    assert (run["status"], run["nodes"]["http"]["out"], hanging.calls) == ("completed", 1, 1)


def test_a_name_server_that_does_not_answer_keeps_no_worker_alive(client, start_worker, stuck, tmp_path):
    asked = tmp_path / "asked"
    program = f"""
import pathlib, socket, sys, time
def getaddrinfo(host, *arguments, **options):
    pathlib.Path({os.fspath(asked)!r}).touch()
    time.sleep(60)
socket.getaddrinfo = getaddrinfo
sys.argv = ["meterhouse", "worker"]
from meterhouse.__main__ import main
main()
"""
    stuck(count=1, host="unanswered.example")
    worker = start_worker(sys.executable, "-c", program)
    until(asked.exists)
    worker.terminate()
    began = time.monotonic()
    worker.wait(timeout=30)
    assert time.monotonic() - began < 14
