"""A real server on a real Postgres and Redis for the whole run; every test brings its own account and bucket."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from meterhouse import embedded
from meterhouse.__main__ import make_parser
from meterhouse.settings import read_settings

from .contract.session import close_contract, hand_over, open_contract, take_over
from .contract.wiring import watch, wired

# Nothing here speaks TLS, but every client would read all certificates.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# For all tests one and the same: imported by name into several modules, each would start its own.
pytest_plugins = ("tests.sandbox",)

COMMAND = [sys.executable, "-m", "meterhouse"]


def pytest_addoption(parser):
    parser.addoption("--contract", action="store_true", help="tell what of openapi/ the chosen tests did not see")


@pytest.fixture(scope="session", autouse=True)
def contract(request):
    """Holds every exchange of every test with one of our servers against openapi/."""
    contract = open_contract(request.config)
    with wired(contract):
        yield contract


def pytest_runtest_setup(item):
    open_contract(item.config).judges_requests = item.get_closest_marker("odd_requests") is None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    take_over(node.config, getattr(node, "workeroutput", {}))


def pytest_sessionfinish(session):
    if not hand_over(session.config):
        close_contract(session)


def free_port() -> int:
    """For one of our servers: what tests say to it is held against the contract (see tests/contract)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    watch(port)
    return port


@dataclass(frozen=True)
class Installation:
    """A migrated database, a Redis and the environment that points every part of the program at them."""

    environment: dict[str, str]
    data_dir: Path

    def run(self, *arguments: str) -> dict:
        """A command of the command line with --json, its output read. In this process: starting one takes a second."""
        parsed = make_parser().parse_args([*arguments, "--json"])
        return json.loads(msgspec.json.encode(asyncio.run(parsed.run(parsed, read_settings(self.environment)))))

    def run_alone(self, *arguments: str) -> dict:
        """The same as a user does it, in a process of its own."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@dataclass(frozen=True)
class Api:
    """One running `meterhouse api` process."""

    base_url: str
    process: subprocess.Popen
    log: Path


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket and clients that carry its API key: one for each mount."""

    id: str
    account_id: str
    api_key: str
    root: httpx.Client
    seed: httpx.Client
    openmeter: httpx.Client

    def mount(self, name: str) -> httpx.Client:
        return {"seed": self.seed, "openmeter": self.openmeter}[name]


@pytest.fixture(scope="session")
def installation(tmp_path_factory) -> Iterator[Installation]:
    data_dir = tmp_path_factory.mktemp("house")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE_")}
    with embedded.lock(data_dir), embedded.start(data_dir, postgres=True, redis=True) as servers:
        environment = kept | {
            "METERHOUSE_DATA_DIR": str(data_dir),
            "METERHOUSE_DATABASE_URL": servers.database_url,
            "METERHOUSE_REDIS_URL": servers.redis_url,
            "METERHOUSE_SECRET_KEY": "only-for-tests-only-for-tests-only-for-tests",
            "METERHOUSE_RATE_LIMITS": "off",
            "METERHOUSE_BASE_URL": "http://meterhouse.test/",
        }
        subprocess.run([*COMMAND, "migrate"], env=environment, check=True, timeout=60)
        yield Installation(environment, data_dir)


@pytest.fixture(scope="session")
def start_api(installation, tmp_path_factory) -> Iterator[Callable[..., Api]]:
    """Starts an API process, with settings of its own if given, and waits until it is ready."""
    started: list[subprocess.Popen] = []

    def start(*, port: int | None = None, **settings: str) -> Api:
        port = port or free_port()
        watch(port, json.loads(settings.get("METERHOUSE_PATH_ALIASES", "{}")))
        log = tmp_path_factory.mktemp("api") / "api.log"
        environment = installation.environment | {"METERHOUSE_PORT": str(port)} | settings
        with log.open("wb") as output:
            process = subprocess.Popen([*COMMAND, "api"], env=environment, stdout=output, stderr=output)
        started.append(process)
        base_url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                if httpx.get(f"{base_url}/livez").status_code == 200:
                    return Api(base_url, process, log)
            except httpx.TransportError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        raise AssertionError(f"not ready: {log.read_text()}")

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(timeout=20)


@pytest.fixture(scope="session")
def api(start_api) -> Api:
    return start_api()


@pytest.fixture(scope="session")
def make_account(installation) -> Callable[[], str]:
    return lambda: installation.run("accounts", "create", "--name", "test")["accountId"]


@pytest.fixture(scope="session")
def make_bucket(installation, api) -> Iterator[Callable[..., Bucket]]:
    account_id = installation.run("accounts", "create", "--name", "buckets")["accountId"]
    account_key = installation.run("api-keys", "create", "--account", account_id, "--name", "all")["apiKey"]
    opened: list[httpx.Client] = []

    def client(base_url: str, **headers: str) -> httpx.Client:
        made = httpx.Client(
            verify=TLS, base_url=base_url, headers={"Authorization": f"Bearer {account_key}"} | headers, timeout=30
        )
        opened.append(made)
        return made

    root = client(api.base_url)

    def make() -> Bucket:
        bucket_id = root.post("/v1/metering", json={}).raise_for_status().json()["id"]
        chosen = {"X-Bucket-Id": bucket_id}
        return Bucket(
            bucket_id,
            account_id,
            account_key,
            client(api.base_url, **chosen),
            client(f"{api.base_url}/v3/metering/{bucket_id}"),
            client(f"{api.base_url}/api/v1", **chosen),
        )

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def bucket(make_bucket) -> Bucket:
    return make_bucket()
