"""A sandbox installation of its own, whose clock tests move and whose workers they start and kill."""

import asyncio
import json
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psycopg

from meterhouse.__main__ import make_parser
from meterhouse.settings import read_settings
from tests.conftest import COMMAND, Api, Installation, free_port
from tests.usage_engine import Account, created, make_schedule, ok, open_account

from .receiver import HOST, Receiver

EVERY_HOUR = make_schedule(hour="*", day="*")
RULE = {"ignoreCondition": True, "conditionRelation": "and", "conditions": [], "matchCategory": "DEFAULT"}


class Commands(Installation):
    """Runs the operator's commands in this process: accounts are made for every test."""

    def run(self, *arguments: str) -> dict:
        parsed = make_parser().parse_args([*arguments, "--json"])
        return asyncio.run(parsed.run(parsed, read_settings(self.environment)))


@dataclass
class House:
    installation: Commands
    api: Api
    receiver: Receiver
    folder: Path
    workers: list[subprocess.Popen] = field(default_factory=list)

    def start_worker(self) -> subprocess.Popen:
        log = (self.folder / f"worker-{len(self.workers)}.log").open("wb")
        worker = subprocess.Popen([*COMMAND, "worker"], env=self.installation.environment, stdout=log, stderr=log)
        log.close()
        self.workers.append(worker)
        return worker

    def stop_workers(self) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            assert worker.wait(timeout=30) in (0, -9)
        self.workers.clear()

    def database(self):
        url = self.installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True)

    @contextmanager
    def account(self, *more):
        with open_account(self.installation, self.api, *more) as opened:
            yield opened

    def advance(self, account: Account, **delta) -> None:
        seconds = sum(amount * {"days": 86_400, "hours": 3_600, "seconds": 1}[unit] for unit, amount in delta.items())
        ok(account.post(f"{self.api.base_url}/sandbox/v1/clock/advance", {"seconds": seconds}))

    def move_to_full_hour(self, account: Account) -> None:
        """So that no period ends by itself while a test looks."""
        clock = f"{self.api.base_url}/sandbox/v1/clock"
        now = datetime.fromisoformat(ok(account.get(clock))["now"])
        moved = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        ok(account.client.put(clock, json={"now": moved.isoformat()}))

    def settle(self, account: Account) -> None:
        """Meters, streams and deliveries have done what is due."""
        ok(account.post(f"{self.api.base_url}/sandbox/v1/settle", {"timeoutSeconds": 100}))

    def end_periods(self, account: Account, meters: list[dict], count: int = 1) -> None:
        """Each of these meters has its periods of an hour ended so many times, by a worker."""

        def starts():
            return [ok(account.get(f"/meters/{meter['id']}"))["periodStart"] for meter in meters]

        before = starts()
        self.advance(account, hours=count)
        end = time.monotonic() + 60
        while any(now <= then for now, then in zip(starts(), before, strict=True)):
            assert time.monotonic() < end, "the periods do not end"
            time.sleep(0.05)


@contextmanager
def open_house(installation: Installation, folder: Path):
    """On a database of its own in the same Postgres."""
    name = f"sandbox_{uuid.uuid4().hex}"
    url = installation.environment["METERHOUSE_DATABASE_URL"]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
    receiver = Receiver()
    port = free_port()
    hosts = {HOST: receiver.base_url, "192.168.7.7": receiver.base_url}
    environment = installation.environment | {
        "METERHOUSE_DATABASE_URL": url.replace("/meterhouse?", f"/{name}?"),
        "METERHOUSE_SANDBOX": "true",
        "METERHOUSE_HTTP_HOSTS": json.dumps(hosts),
        "METERHOUSE_PORT": str(port),
    }
    subprocess.run([*COMMAND, "migrate"], env=environment, check=True, timeout=60)
    log = folder / "api.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "api"], env=environment, stdout=output, stderr=output)
    api = Api(f"http://127.0.0.1:{port}", process, log)
    house = House(Commands(environment, installation.data_dir), api, receiver, folder)
    try:
        _wait_until_ready(house.api)
        yield house
    finally:
        try:
            house.stop_workers()
        finally:
            process.terminate()
            process.wait(timeout=20)
            receiver.shutdown()
            receiver.server_close()


def _wait_until_ready(api: Api) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{api.base_url}/livez").status_code == 200:
                return
        except httpx.TransportError:
            assert api.process.poll() is None, api.log.read_text()
            time.sleep(0.05)
    raise AssertionError(f"not ready: {api.log.read_text()}")


def add_meters(account: Account, count: int = 1, key: str | None = None, **changes) -> list[dict]:
    """Of one new type, whose periods last an hour unless `changes` say otherwise, at one Meter processor."""
    meter_type = account.add_type(**({"resetSchedule": EVERY_HOUR} | changes))
    key = key or str(uuid.uuid4())
    return [account.add_meter(meter_type, meterKey=key) for _ in range(count)]


def add_webhook(account: Account, hook, **members) -> dict:
    return created(account.post("/webhooks", {"url": hook.url} | members))


def deliveries(account: Account, webhook: dict, **filters) -> list[dict]:
    return ok(account.get(f"/webhooks/{webhook['id']}/deliveries", limit=100, **filters))["deliveries"]
