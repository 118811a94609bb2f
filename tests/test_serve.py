"""`meterhouse serve` as its user runs it: in an empty folder, with nothing set."""

import asyncio
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from .conftest import COMMAND, free_port

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE_")}


class Served:
    """A `serve` process on a data directory, started again on the same one after it was killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.output = self.folder / f"output-{self.starts}"
        with self.output.open("wb") as out, (self.folder / f"log-{self.starts}").open("wb") as log:
            environment = PLAIN | {"METERHOUSE_PORT": str(self.port), "METERHOUSE_RATE_LIMITS": "off"}
            self.process = subprocess.Popen(
                [*COMMAND, "serve"], cwd=self.folder, env=environment, stdout=out, stderr=log
            )

    def wait_until_ready(self) -> None:
        for _ in range(600):
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            assert self.process.poll() is None, (self.folder / f"log-{self.starts}").read_text()
            time.sleep(0.05)
        raise AssertionError("not ready")

    def kill_everything(self) -> None:
        family = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()

    @property
    def credentials(self) -> dict:
        return json.loads((self.folder / ".meterhouse" / "credentials.json").read_text())

    @property
    def headers(self) -> dict:
        return {"Authorization": f"Bearer {self.credentials['apiKey']}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder):
    served = Served(folder)
    served.wait_until_ready()
    yield served
    if served.process.poll() is None:
        served.process.terminate()
        assert served.process.wait(timeout=30) == 0


def test_the_first_start_prints_its_credentials_and_keeps_them_to_itself(served):
    printed = served.output.read_text()
    assert all(value in printed for value in served.credentials.values())
    members = {"accountId", "clientId", "clientSecret", "audience", "apiKey", "bucketId", "collectorId", "meterKey"}
    assert set(served.credentials) == members
    assert (served.folder / ".meterhouse" / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_the_printed_lines_count_an_event(served):
    lines = [line for line in served.output.read_text().splitlines() if line.strip().startswith("curl")]
    answers = [subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout for line in lines]
    assert json.loads(answers[-1])["data"][0]["value"] == 42


def test_what_is_sent_to_the_printed_collector_moves_a_meter_within_two_seconds(served):
    credentials = served.credentials
    asked = {"audience": credentials["audience"], "grant_type": "client_credentials"}
    asked |= {"client_id": credentials["clientId"], "client_secret": credentials["clientSecret"]}
    token = httpx.post(f"{served.url}/authentication/v1/oauth/token", json=asked).raise_for_status()
    headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
    with httpx.Client(base_url=served.url, headers=headers) as client:
        monthly = {"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"}
        kind = {"name": "Traffic", "aggregation": {"type": "sum"}, "unit": "GB", "timezone": "Etc/UTC"}
        made = client.post("/usage-metering/v1/meter-types", json=kind | {"resetSchedule": monthly}).raise_for_status()
        meter = {"meterKey": credentials["meterKey"], "meterTypeId": made.json()["id"], "userId": "ann"}
        meter_id = client.post("/usage-metering/v1/meters", json=meter).raise_for_status().json()["id"]

        def send_and_wait(value, seconds):
            sent = {"data": {"userId": "ann", "value": 21}}
            path = f"/online-collection/v1/collectors/{credentials['collectorId']}/send"
            assert client.post(path, json=sent).status_code == 202
            end = time.monotonic() + seconds
            while client.get(f"/usage-metering/v1/meters/{meter_id}").json()["value"] != value:
                assert time.monotonic() < end, "the meter did not move"
                time.sleep(0.05)

        send_and_wait(21, 30)  # the worker may still be starting
        send_and_wait(42, 2)


def test_a_second_server_on_the_folder_is_refused_in_one_line(served):
    environment = PLAIN | {"METERHOUSE_PORT": str(free_port())}
    second = subprocess.run(
        [*COMMAND, "serve"], cwd=served.folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    assert "already in use" in second.stderr


def test_a_used_port_is_refused_in_one_line(served, tmp_path):
    environment = PLAIN | {"METERHOUSE_PORT": str(served.port)}
    second = subprocess.run(
        [*COMMAND, "serve"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    assert str(served.port) in second.stderr


def test_the_operator_commands_use_the_running_server(served):
    listed = subprocess.run(
        [*COMMAND, "buckets", "list", "--json"],
        cwd=served.folder,
        env=PLAIN,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [bucket["bucketId"] for bucket in json.loads(listed.stdout)] == [served.credentials["bucketId"]]


async def send_with_retries(served, numbers, failures):
    """Fifty connections; every tenth event is sent twice. Returns the ids that were acknowledged."""
    waiting = asyncio.Queue()
    for number in numbers:
        waiting.put_nowait(number)
        if number % 10 == 0:
            waiting.put_nowait(number)
    acknowledged = []

    async def sender(client):
        while not waiting.empty():
            number = waiting.get_nowait()
            event = {
                "id": str(number),
                "source": "crash",
                "specversion": "1.0",
                "type": "crash",
                "subject": "s",
                "data": {"n": number},
            }
            while True:
                try:
                    answer = await client.post("/api/v1/events", json=event)
                    if answer.status_code == 204:
                        acknowledged.append(number)
                        break
                    assert answer.status_code == 503, answer.text
                except httpx.TransportError:
                    failures.append(number)
                await asyncio.sleep(0.05)

    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=served.url, headers=served.headers, limits=limits, timeout=10) as client:
        await asyncio.gather(*(sender(client) for _ in range(50)))
    return acknowledged


@pytest.mark.parametrize("kill", ["everything", "only the server process"])
def test_after_kill_9_halfway_every_acknowledged_event_is_counted_once(served, kill):
    slug = "crash_" + kill.split()[0]
    with httpx.Client(base_url=served.url, headers=served.headers) as client:
        for aggregation in ("SUM", "COUNT"):
            meter = {"slug": f"{slug}_{aggregation.lower()}", "aggregation": aggregation, "eventType": "crash"}
            meter |= {"valueProperty": "$.n"} if aggregation == "SUM" else {}
            assert client.post("/api/v1/meters", json=meter).status_code == 201
    first = 1_000 if kill == "everything" else 3_000
    numbers, failures = range(first, first + 1_000), []

    async def disturbed():
        sending = asyncio.create_task(send_with_retries(served, numbers, failures))
        while not sending.done():
            counted = await asyncio.to_thread(count, served, f"{slug}_count")
            if counted >= first // 2 + 100:
                break
        await asyncio.to_thread(served.kill_everything if kill == "everything" else served.process.kill)
        served.process.wait()
        served.start()
        return await sending

    acknowledged = asyncio.run(asyncio.wait_for(disturbed(), 90))
    assert failures, "the kill came too late to disturb anything"
    assert sorted(set(acknowledged)) == list(numbers)
    sent = [n for begin in ((1_000,) if kill == "everything" else (1_000, 3_000)) for n in range(begin, begin + 1_000)]
    assert count(served, f"{slug}_count") == len(sent)
    assert count(served, f"{slug}_sum") == sum(sent)


def count(served, slug):
    answer = httpx.get(f"{served.url}/api/v1/meters/{slug}/query", headers=served.headers, timeout=30).json()
    return answer["data"][0]["value"] if answer["data"] else 0


def test_ctrl_c_stops_everything_cleanly(served):
    children = psutil.Process(served.process.pid).children(recursive=True)
    assert len(children) >= 3
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=30) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_a_later_start_shows_no_secrets_and_forgets_nothing(served):
    served.start()
    served.wait_until_ready()
    assert "mhk_" not in served.output.read_text()
    assert count(served, "first_light") == 42
