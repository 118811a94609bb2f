"""A sandbox: an installation of its own whose clock tests move, with a worker, and what is metered in it."""

import itertools
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from tests.conftest import COMMAND, Api, Installation
from tests.tenants import make_tenant
from tests.usage_engine import created, exact, make_meter, make_type, ok

_numbers = itertools.count(1)


@dataclass
class Sandbox:
    """An API process and the workers that were started; all of them follow one clock, which only goes forward."""

    installation: Installation
    api: Api
    logs: Callable[[], object]
    workers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """Its own, for another process of it."""
        return {name: self.installation.environment[name] for name in ("METERHOUSE_DATABASE_URL", "METERHOUSE_SANDBOX")}

    def start_worker(self, **settings: str) -> subprocess.Popen:
        with self.logs().open("wb") as log:
            environment = self.installation.environment | settings
            process = subprocess.Popen([*COMMAND, "worker"], env=environment, stdout=log, stderr=log)
        self.workers.append(process)
        return process

    def stop_workers(self) -> None:
        for process in self.workers:
            process.terminate()
        for process in self.workers:
            process.wait(timeout=30)
        self.workers.clear()

    @contextmanager
    def open_customer(self) -> Iterator["Customer"]:
        tenant = make_tenant(self.installation, self.api.base_url)
        with tenant.client() as client:
            yield Customer(tenant.account_id, client, self)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(libpq(self.installation), autocommit=True) as connection:
            yield connection


@dataclass
class Customer:
    """An account in a sandbox; the client carries its token."""

    account_id: str
    client: httpx.Client
    sandbox: Sandbox

    def get(self, path, **params):
        return self.client.get(path, params=params)

    def add_type(self, **changes):
        return created(self.client.post("/usage-metering/v1/meter-types", json=make_type(**changes)))

    def add_meter(self, meter_type, **changes):
        body = make_meter(meterTypeId=meter_type["id"], **changes)
        return created(self.client.post("/usage-metering/v1/meters", json=body))

    def meter(self, meter):
        return ok(self.get(f"/usage-metering/v1/meters/{meter['id']}"))

    def patch_meter(self, meter, **changes):
        return ok(self.client.patch(f"/usage-metering/v1/meters/{meter['id']}", json=changes))

    def periods(self, meter):
        """All of them."""
        found, path = [], f"/usage-metering/v1/meters/{meter['id']}/periods"
        while page := exact(self.get(path, limit=100, skip=len(found)).raise_for_status().text)["periods"]:
            found += page
        return found

    def records(self):
        """The whole feed."""
        found, after = [], "0"
        while True:
            answer = ok(self.get("/usage-metering/v1/metered-records", after=after, limit=1000))
            if not answer["meteredRecords"]:
                return found
            found += answer["meteredRecords"]
            after = answer["after"]

    def now(self) -> datetime:
        return parse(ok(self.get("/sandbox/v1/clock"))["now"])

    def set_clock(self, instant: datetime) -> None:
        ok(self.client.put("/sandbox/v1/clock", json={"now": instant.astimezone(UTC).isoformat()}))

    def wait_for_morning(self) -> None:
        """So that no midnight of UTC passes by itself in what follows."""
        self.set_clock(self.now().replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=1))

    def advance(self, **delta: float) -> None:
        """By so many days, hours, …"""
        ok(self.client.post("/sandbox/v1/clock/advance", json={"seconds": timedelta(**delta).total_seconds()}))

    def settle(self) -> None:
        ok(self.client.post("/sandbox/v1/settle", json={"timeoutSeconds": 110}, timeout=120))

    @contextmanager
    def metering(self, *, batch: int | None = None, before: tuple | None = None, **params) -> Iterator["Stream"]:
        """A stream with a Meter processor whose outputs lead to one writer each; it is gone afterwards.

        It reads a collector or, as a batch, so many numbers. `before` the processor stands another function: its type,
        params and the id of the output that leads on.
        """
        collector_id = None if batch is not None else self._add_collector()
        reader = ("readers/counter", {"max": batch}) if batch is not None else _collecting(collector_id)
        body = {"stream": metering_document(reader, before, params)}
        made = created(self.client.post("/stream-management/v1/streams/import", json=body))
        stream = Stream(self, made["id"], made["meterKeys"]["meter"], collector_id)
        try:
            yield stream
        finally:
            stream.remove()

    def _add_collector(self) -> str:
        body = {"name": f"c {next(_numbers)}"}
        return created(self.client.post("/online-collection/v1/collectors", json=body))["id"]


@dataclass
class Stream:
    customer: Customer
    id: str
    meter_key: str
    collector_id: str | None

    @property
    def path(self) -> str:
        return f"/stream-management/v1/streams/{self.id}"

    def deploy(self) -> "Stream":
        ok(self.customer.client.post(f"{self.path}/deploy"))
        return self

    def run_batch(self) -> None:
        """To its end."""
        answer = self.customer.client.post(f"{self.path}/start")
        assert answer.status_code == 202, answer.text
        self.customer.settle()
        run = ok(self.customer.get(f"{self.path}/runs/{answer.json()['runId']}"))
        assert run["status"] == "completed", run

    def add_meter(self, meter_type, **changes):
        return self.customer.add_meter(meter_type, meterKey=self.meter_key, **changes)

    def send(self, *records) -> None:
        """In one request, as NDJSON. A text is sent as it is."""
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        path = f"/online-collection/v1/collectors/{self.collector_id}/send"
        answer = self.customer.client.post(path, json={"data": "\n".join(lines)})
        assert answer.status_code == 202, answer.text

    def use(self, meter, value, **fields) -> None:
        """One record of usage for the meter's user."""
        self.send({"userId": meter["userId"], "value": value} | fields)

    def outputs(self, node_id: str) -> list[dict]:
        """What reached the writer, in all runs, the oldest first."""
        found = []
        runs = ok(self.customer.get(f"{self.path}/runs", limit=100))["runs"]
        for run in reversed(runs):
            path, skip = f"{self.path}/runs/{run['id']}/outputs", 0
            while page := exact(self.customer.get(path, limit=100, skip=skip).text)["outputs"]:
                found += [line["payload"] for line in page if line["nodeId"] == node_id]
                skip += len(page)
        return found

    def remove(self) -> None:
        """A run that is under way may take a moment to end."""
        client = self.customer.client
        client.post(f"{self.path}/undeploy")
        if self.rejected():
            ok(client.post("/data-correction/v1/records/delete", json={"filter": {"streamId": self.id}}))
        until(lambda: client.delete(self.path).status_code == 200)
        if self.collector_id is not None:
            ok(client.delete(f"/online-collection/v1/collectors/{self.collector_id}"))

    def rejected(self) -> list[dict]:
        return ok(self.customer.get("/data-correction/v1/records", streamId=self.id, limit=100))["records"]


def _collecting(collector_id: str) -> tuple[str, dict]:
    return "readers/online_collection", {"collectorId": collector_id}


def metering_document(reader: tuple[str, dict], before: tuple | None, params: dict) -> dict:
    rules = [{"ignoreCondition": True, "matchCategory": "DEFAULT"}]
    outputs = {"fixed": {"reset": {"id": "out-reset"}, "threshold": {"id": "out-threshold"}}}
    nodes = {
        "read": reader,
        "meter": ("transforms/meter", {"guidingRules": rules, "multiOutput": outputs} | params),
        "resets": ("writers/log", {}),
        "thresholds": ("writers/log", {}),
    }
    wires = [("meter", "resets", {"output": "out-reset"}), ("meter", "thresholds", {"output": "out-threshold"})]
    if before is None:
        wires.append(("read", "meter", {}))
    else:
        *nodes["before"], output = before
        wires += [("read", "before", {}), ("before", "meter", {} if output is None else {"output": output})]
    return {
        "name": f"Stream {uuid.uuid4()}",
        "nodes": [
            {"id": name, "type": kind, "schemaVersion": 1, "name": name, "params": given, "x": 0, "y": 0}
            for name, (kind, given) in nodes.items()
        ],
        "edges": [
            {"id": f"e{number}", "from": source, "to": target, "config": {}} | output
            for number, (source, target, output) in enumerate(wires)
        ],
        "nodeGroups": [],
    }


def until(question, seconds=20):
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return answer


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text)


def libpq(installation: Installation) -> str:
    return installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")


def copy_meter(database: psycopg.Connection, meter_id: str, count: int) -> None:
    """As many more, of other users."""
    columns = [
        row[0]
        for row in database.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'meters'::regclass AND attnum > 0 AND NOT attisdropped"
        )
    ]
    own = {"id": "gen_random_uuid()", "user_id": "'user ' || n"}
    selected = ", ".join(own.get(name, f"m.{name}") for name in columns)
    database.execute(
        f"INSERT INTO meters ({', '.join(columns)}) SELECT {selected} FROM meters AS m, generate_series(1, {count}) AS n"
        " WHERE m.id = %s",
        (meter_id,),
    )
    database.execute("ANALYZE meters")


@contextmanager
def open_sandbox(installation, start_api, tmp_path_factory) -> Iterator[Sandbox]:
    """On a new database of the same server. Without a worker."""
    name = f"sandbox{next(_numbers)}"
    with psycopg.connect(libpq(installation), autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("/meterhouse?", f"/{name}?")
    own = {"METERHOUSE_DATABASE_URL": url, "METERHOUSE_SANDBOX": "true"}
    environment = installation.environment | own
    subprocess.run([*COMMAND, "migrate"], env=environment, check=True, timeout=60)
    opened = Sandbox(
        Installation(environment, installation.data_dir),
        start_api(**own),
        lambda: tmp_path_factory.mktemp("worker") / "worker.log",
    )
    try:
        yield opened
    finally:
        opened.stop_workers()


@pytest.fixture(scope="session")
def sandbox(installation, start_api, tmp_path_factory):
    """With one worker, for tests that take the clock as they find it and leave it wherever they like."""
    with open_sandbox(installation, start_api, tmp_path_factory) as opened:
        opened.start_worker()
        yield opened


@pytest.fixture(scope="session")
def customer(sandbox):
    with sandbox.open_customer() as opened:
        yield opened
