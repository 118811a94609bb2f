"""`make bench`: the hot paths on this machine, beside the limits that they can be compared with, in one run.

Server, Postgres, Redis and load share the machine: trust the ratios more than the figures. Names of cases as arguments
choose some of them: `python -m tests.bench stream`.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import psycopg

from meterhouse import embedded

from .conftest import COMMAND, free_port
from .load import http_request, measure
from .sandbox import copy_meter

SECONDS = 4
BATCHES = 200
BATCH = 1_000
STREAM_RECORDS = 1_000_000
STREAM_METERS = 300
METERS = 100_000
GENEROUS = {"requests": 100_000_000, "window_seconds": 1, "burst": 10_000_000}

DAILY = {
    "name": "Bench",
    "unit": "GB",
    "aggregation": {"type": "sum"},
    "timezone": "Etc/UTC",
    "resetSchedule": {"minute": "0", "hour": "0", "day": "*", "month": "*", "weekday": "*"},
}

BARE = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


def say(what: str, figure: str) -> None:
    print(f"  {what:<72} {figure}", flush=True)


def make_events(seed: int) -> list[dict]:
    chance = random.Random(seed)
    return [
        {
            "specversion": "1.0",
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "source": "bench",
            "type": "prompt",
            "subject": f"customer-{int(chance.paretovariate(1)) % 1000}",
            "time": f"2026-{chance.randint(8, 10):02}-{chance.randint(1, 30):02}T{chance.randint(0, 23):02}:00:00Z",
            "data": {
                "tokens": chance.randint(1, 999),
                "model": f"m{chance.randint(0, 4)}",
                "region": f"r{chance.randint(0, 2)}",
            },
        }
        for _ in range(BATCH)
    ]


class Bench:
    def __init__(
        self, base_url: str, address: tuple[str, int], database_url: str, credentials: dict, folder: Path
    ) -> None:
        self.credentials, self.folder = credentials, folder
        self.base_url, self.address, self.database_url = base_url, address, database_url
        self.api_key = credentials["apiKey"]
        form = {name: credentials[name] for name in ("audience",)} | {
            "client_id": credentials["clientId"],
            "client_secret": credentials["clientSecret"],
            "grant_type": "client_credentials",
        }
        self.token = httpx.post(f"{base_url}/authentication/v1/oauth/token", json=form).json()["access_token"]

    def event(self, number: int) -> bytes:
        body = json.dumps(
            {
                "specversion": "1.0",
                "id": f"{self.mark}-{number}",
                "source": "one",
                "type": "one",
                "subject": "s",
                "data": {"n": 1},
            }
        )
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/cloudevents+json"}
        return http_request("POST", "/api/v1/events", headers, body.encode())

    def saturate(self, make_request, address=None) -> float:
        """Requests a second when more are due than can be served."""
        started = time.perf_counter()
        report = measure(address or self.address, make_request, rate=20_000, seconds=SECONDS, connections=32)
        assert set(report.statuses()) <= {202, 204}, report
        return len(report.answers) / (time.perf_counter() - started)

    def single_events(self) -> None:
        self.mark = "saturated"
        say(
            "events, one a request, each durable, key and rate limit checked",
            f"{self.saturate(self.event):,.0f} requests/s",
        )
        self.mark = "paced"
        report = measure(self.address, self.event, rate=1_000, seconds=SECONDS)
        say(
            "  the same at 1 000 requests/s",
            f"p50 {report.milliseconds(50):.1f} ms, p99 {report.milliseconds(99):.1f} ms",
        )

    def send_data(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        made = httpx.post(f"{self.base_url}/online-collection/v1/collectors", json={"name": "bench"}, headers=headers)
        path = f"/online-collection/v1/collectors/{made.json()['id']}/send"

        def send(number: int) -> bytes:
            return http_request("POST", path, headers, json.dumps({"data": {"userId": "u", "value": number}}).encode())

        say("send data, token and rate limit checked", f"{self.saturate(send):,.0f} requests/s")
        report = measure(self.address, send, rate=1_000, seconds=SECONDS)
        say(
            "  the same at 1 000 requests/s",
            f"p50 {report.milliseconds(50):.1f} ms, p99 {report.milliseconds(99):.1f} ms",
        )

    def batches(self) -> None:
        bodies = [json.dumps(make_events(seed)) for seed in range(BATCHES)]
        headers = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/cloudevents-batch+json"}
        with httpx.Client(base_url=self.base_url, headers=headers, timeout=60) as client, ThreadPoolExecutor(4) as pool:
            started = time.perf_counter()
            answers = list(pool.map(lambda body: client.post("/api/v1/events", content=body).status_code, bodies))
            seconds = time.perf_counter() - started
        assert set(answers) == {204}
        say(f"events, {BATCH} a request", f"{BATCHES * BATCH / seconds:,.0f} events/s")

    def copy(self) -> None:
        """The limit: the same rows by COPY into an empty table of the same shape, keys and indexes."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute("CREATE TABLE copied (LIKE events INCLUDING ALL)")
            with database.cursor().copy("COPY (SELECT * FROM events WHERE source = 'bench') TO STDOUT") as copy:
                rows = b"".join(bytes(part) for part in copy)
            started = time.perf_counter()
            with database.cursor().copy("COPY copied FROM STDIN") as copy:
                copy.write(rows)
            seconds = time.perf_counter() - started
            database.execute("DROP TABLE copied")
        say("  limit: COPY of the same rows, one stream", f"{BATCHES * BATCH / seconds:,.0f} rows/s")

    def queries(self) -> None:
        meter = {"slug": "tokens", "aggregation": "SUM", "eventType": "prompt", "valueProperty": "$.tokens"}
        meter |= {"groupBy": {"model": "$.model", "region": "$.region"}}
        with httpx.Client(
            base_url=self.base_url, headers={"Authorization": f"Bearer {self.api_key}"}, timeout=60
        ) as client:
            client.post("/api/v1/meters", json=meter).raise_for_status()
            month = {"from": "2026-09-01T00:00:00Z", "to": "2026-10-01T00:00:00Z", "windowSize": "DAY"}
            cases = {
                f"query a month of {BATCHES * BATCH:,} events by day, model and region": month
                | {"groupBy": ["model", "region"]},
                "query a month of one subject by day": month | {"subject": "customer-77"},
                "query all of them, ungrouped": {},
            }
            for what, asked in cases.items():
                times = []
                for _ in range(5):
                    started = time.perf_counter()
                    client.get("/api/v1/meters/tokens/query", params=asked).raise_for_status()
                    times.append(time.perf_counter() - started)
                say(what, f"{sorted(times)[2] * 1000:.1f} ms")

    def periods(self) -> None:
        """All meters are due at once. Beside the server's worker a second one, killed -9 every two seconds."""
        self.mark = "meanwhile"
        with psycopg.connect(self.database_url, autocommit=True) as database:
            kind = self.call("/usage-metering/v1/meter-types", DAILY)
            meter = self.call("/usage-metering/v1/meters", {"meterKey": "k", "userId": "u", "meterTypeId": kind["id"]})
            copy_meter(database, meter["id"], METERS - 1)
            end, killed = "date_trunc('day', now())", threading.Event()
            killer = threading.Thread(target=kill_workers, args=(self.environment, killed))
            killer.start()
            database.execute(f"UPDATE meters SET period_start = {end} - interval '1 day', period_end = {end}")
            database.execute("UPDATE meters SET close_at = period_end")
            started = time.perf_counter()
            report = measure(self.address, self.event, rate=200, seconds=METERS / 10_000)
            try:
                while database.execute("SELECT count(*) FROM meters WHERE close_at <= now()").fetchone()[0]:
                    time.sleep(0.05)
                seconds = time.perf_counter() - started
            finally:
                killed.set()
                killer.join()
            counts = database.execute("SELECT count(*), count(DISTINCT meter_id) FROM metered_records").fetchone()
            assert counts == (METERS, METERS), counts
        say(f"closing the periods of {METERS:,} meters, two workers, one killed again and again", f"{seconds:.1f} s")
        say("  the same", f"{METERS / seconds:,.0f} meters/s")
        say(
            "  events meanwhile, at 200 requests/s",
            f"p50 {report.milliseconds(50):.1f} ms, p99 {report.milliseconds(99):.1f} ms",
        )

    def call(self, path: str, body: dict) -> dict:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.post(f"{self.base_url}{path}", json=body, headers=headers).raise_for_status().json()

    def stream(self) -> None:
        """The stream that every installation has: its collector is full when the clock starts."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.base_url, headers=headers, timeout=60) as client:
            self.make_meters(client)
            streams = client.get("/stream-management/v1/streams").json()["streams"]
            runs = f"/stream-management/v1/streams/{streams[0]['id']}"
            client.post(f"{runs}/undeploy").raise_for_status()
            self.fill_inbox()
            run_id = client.post(f"{runs}/deploy").json()["runId"]
            began, memory, done = time.perf_counter(), [], 0
            while done < STREAM_RECORDS:
                time.sleep(0.5)
                done = client.get(f"{runs}/runs/{run_id}").json()["nodes"].get("meter", {"in": 0})["in"]
                memory.append(self.worker_memory())
            seconds = time.perf_counter() - began
            values = [
                meter["value"]
                for meter in client.get(
                    "/usage-metering/v1/meters", params={"limit": 100, "meterKey": self.credentials["meterKey"]}
                ).json()["meters"]
            ]
        assert set(values) <= {STREAM_RECORDS // STREAM_METERS, STREAM_RECORDS // STREAM_METERS + 1}, values
        say(
            f"stream: {STREAM_RECORDS:,} sends move {STREAM_METERS} meters",
            f"{STREAM_RECORDS / seconds:,.0f} records/s",
        )
        quarters = [memory[len(memory) * part // 4] for part in range(4)] + [memory[-1]]
        say("  memory of the worker meanwhile, MB", " ".join(f"{one >> 20}" for one in quarters))

    def make_meters(self, client: httpx.Client) -> None:
        schedule = {"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"}
        kind = {"name": "bench", "aggregation": {"type": "sum"}, "unit": "calls", "timezone": "Etc/UTC"}
        kind |= {"resetSchedule": schedule}
        type_id = client.post("/usage-metering/v1/meter-types", json=kind).raise_for_status().json()["id"]
        meter = {"meterKey": self.credentials["meterKey"], "meterTypeId": type_id}
        for user in range(STREAM_METERS):
            client.post("/usage-metering/v1/meters", json=meter | {"userId": f"user-{user}"}).raise_for_status()

    def fill_inbox(self) -> None:
        statement = """
            INSERT INTO inbox (account_id, collector_id, seq, ingestion_id, received_at, data)
            SELECT %s, %s, nextval('inbox_seq'), gen_random_uuid(), now(),
                format('{"userId": "user-%%s", "value": 1, "region": "r%%s"}', n %% %s, n %% 5)
            FROM generate_series(1, %s) n
        """
        ids = (self.credentials["accountId"], self.credentials["collectorId"])
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute(statement, (*ids, STREAM_METERS, STREAM_RECORDS))
            database.execute("ANALYZE inbox")

    def worker_memory(self) -> int:
        """Resident bytes of the worker alone: the process in which scripts run is another."""
        (server,) = (one for one in psutil.Process().children() if "serve" in one.cmdline())
        (worker,) = (one for one in server.children() if "worker" in one.cmdline())
        return int(worker.memory_info().rss)

    def bare(self) -> None:
        folder = self.folder
        (folder / "bare.py").write_text(BARE)
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "bare:app",
            "--port",
            str(port),
            "--log-level",
            "error",
            "--no-access-log",
        ]
        with subprocess.Popen([*command, "--lifespan", "off"], cwd=folder) as server:
            time.sleep(1)
            self.mark = "bare"
            say(
                "  limit: an ASGI application that does nothing",
                f"{self.saturate(self.event, ('127.0.0.1', port)):,.0f} requests/s",
            )
            server.terminate()


CASES = ("single_events", "send_data", "bare", "batches", "copy", "queries", "periods", "stream")


def kill_workers(environment: dict, stop: threading.Event) -> None:
    """One after the other."""
    while not stop.is_set():
        with subprocess.Popen([*COMMAND, "worker"], env=environment, stderr=subprocess.DEVNULL) as worker:
            stop.wait(2)
            worker.kill()


def main(chosen: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        limits = dict.fromkeys(("ingest_events", "send_data"), GENEROUS)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("METERHOUSE_")} | {
            "METERHOUSE_PORT": str(port),
            "METERHOUSE_RATE_LIMITS": json.dumps(limits),
            "METERHOUSE_LOG_LEVEL": "warning",
        }
        with subprocess.Popen([*COMMAND, "serve"], cwd=folder, env=environment, stdout=subprocess.DEVNULL) as server:
            base_url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    if httpx.get(f"{base_url}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            data_dir = folder / ".meterhouse"
            servers = embedded.running(data_dir)
            assert servers is not None
            url = (servers.database_url or "").replace("+psycopg", "")
            credentials = json.loads((data_dir / "credentials.json").read_text())
            bench = Bench(base_url, ("127.0.0.1", port), url, credentials, folder)
            print(f"Meterhouse on {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}:")
            bench.environment = environment | {
                "METERHOUSE_DATABASE_URL": servers.database_url,
                "METERHOUSE_DATA_DIR": str(data_dir),
            }
            try:
                # In this order: the case of the periods counts the records of all meters.
                for case in (one for one in CASES if one in (chosen or CASES)):
                    getattr(bench, case)()
            finally:
                server.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])
