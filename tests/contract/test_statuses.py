"""The answers that any operation can have, asked of every operation.

Where one is documented, it must come; where it comes undocumented, the check of the exchange fails.
"""

import json
import subprocess
from dataclasses import replace
from uuid import uuid4

import httpx
import psycopg
import pytest

from meterhouse.access.operations import OPERATIONS as ROWS
from meterhouse.access.secrets import new_api_key
from tests.conftest import COMMAND, TLS, Installation
from tests.sandbox import open_sandbox

from .documents import Operation, load_all
from .samples import Sample, plain_sample
from .world import Caller, World, furnish, make_caller

OPERATIONS = [operation for document in load_all() for operation in document.operations()]
# The database's part in a request ends where its tables are not there.
KEPT = ("alembic_version", "accounts", "clients", "signing_keys")


def assert_is(status: int, operation: Operation, answer: httpx.Response) -> None:
    if status in operation.responses():
        assert answer.status_code == status, answer.text


@pytest.fixture(scope="module")
def sandbox(installation, start_api, tmp_path_factory):
    """Of this module's own, for it leaves behind whatever the first of two calls makes."""
    with open_sandbox(installation, start_api, tmp_path_factory) as opened:
        opened.start_worker()
        yield opened


@pytest.fixture(scope="module")
def caller(sandbox):
    return make_caller(sandbox.installation, sandbox.api.base_url)


def furnish_all(base_url: str, caller: Caller) -> dict[str, World]:
    """One world for each document: these requests are refused and change nothing."""
    return {name: furnish(base_url, caller, name) for name in {operation.document.name for operation in OPERATIONS}}


@pytest.fixture(scope="module")
def worlds(sandbox, caller):
    made = furnish_all(sandbox.api.base_url, caller)
    yield made
    for world in made.values():
        world.close()


@pytest.fixture(scope="module")
def keys(sandbox, caller):
    """API keys with one scope each."""
    made = {}
    for scope in ("read:usage", "read:events"):
        asked = ("--account", caller.account_id, "--name", "narrow", "--scopes", scope)
        made[scope] = sandbox.installation.run("api-keys", "create", *asked)["apiKey"]
    return made


# The others take credentials in the body, too.
BY_BEARER = [one for one in OPERATIONS if (ways := one.node.value.get("security", [None])) and {} not in ways]


@pytest.mark.parametrize("operation", BY_BEARER, ids=str)
def test_without_good_credentials_the_answer_is_401(worlds, operation):
    world = worlds[operation.document.name]
    for credentials in ("Bearer nothing", "Bearer a.b.c", ""):
        assert world.send(plain_sample(operation), Authorization=credentials).status_code == 401


SCOPED = [operation for operation in OPERATIONS if operation.row in ROWS and ROWS[operation.row].scope]


@pytest.mark.parametrize("operation", SCOPED, ids=str)
def test_without_its_scope_an_operation_is_refused(worlds, keys, operation):
    """With 403 where the dialect has it, else with 401."""
    key = keys["read:events" if ROWS[operation.row].scope == "read:usage" else "read:usage"]
    answer = worlds[operation.document.name].send(plain_sample(operation), Authorization=f"Bearer {key}")
    assert answer.status_code == (403 if 403 in operation.responses() else 401)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_where_there_is_no_such_thing_the_answer_is_404(api, worlds, operation):
    """Every id in the path, or the bucket that the header names, is nobody's. What is of sandboxes is not elsewhere."""
    world, sample = worlds[operation.document.name], plain_sample(operation)
    nowhere = World(api.base_url if operation.of_sandboxes else str(world.client.base_url).rstrip("/"), world.caller)
    path = {name: str(uuid4()) if name.lower().endswith("id") else "nothing" for name in sample.path}
    answer = nowhere.send(replace(world.fill(sample), path=path), **{"X-Bucket-Id": "mtr_nothing"})
    nowhere.close()
    assert_is(404, operation, answer)


def spoiled(sample: Sample) -> Sample:
    """With a body that is no JSON, or else with a parameter that cannot be read."""
    if sample.body is not None:
        return replace(sample, body="{")
    for (place, name), node in sample.operation.parameters().items():
        schema = node.get("schema")
        said = {} if schema is None else schema.value
        readable = (
            schema is not None and said.get("type") == "string" and not {"enum", "format", "pattern"} & said.keys()
        )
        if place == "query" and not readable:
            text = "\x00" if said.get("type") == "array" else "{" * 3000
            return replace(sample, query=[*(pair for pair in sample.query if pair[0] != name), (name, text)])
    names = [name for place, name in sample.operation.parameters() if place == "path"]
    return replace(sample, path=sample.path | dict.fromkeys(names[-1:], "{"))


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_request_that_cannot_be_read_is_400(worlds, operation):
    world = worlds[operation.document.name]
    sample = spoiled(world.fill(plain_sample(operation)))
    base_url = str(world.client.base_url).rstrip("/")
    answer = httpx.request(
        operation.method,
        base_url + sample.url(),
        headers=world.headers | world.caller.headers(sample) | sample.headers,
        content=sample.body,
        verify=TLS,
    )
    assert_is(400, operation, answer)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.method not in ("GET", "DELETE")], ids=str)
def test_a_body_that_is_too_large_is_413(worlds, operation):
    """Also where none is asked for."""
    sample = replace(plain_sample(operation), body=" " * (8 * 1024 * 1024 + 1))
    assert_is(413, operation, worlds[operation.document.name].send(sample))


@pytest.fixture(scope="module")
def limited(sandbox, start_api):
    """A server that lets every client call every operation once a day."""
    once = {"requests": 1, "window_seconds": 86_400, "burst": 1}
    limits = json.dumps({name: once for name in ROWS if name != "failed_login"})
    return start_api(**sandbox.settings, METERHOUSE_RATE_LIMITS=limits)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_call_too_many_is_429(worlds, limited, operation):
    world, sample = worlds[operation.document.name], plain_sample(operation)
    world.send(sample, limited.base_url)
    assert_is(429, operation, world.send(sample, limited.base_url))


def start_elsewhere(installation, start_api, name: str):
    """A server with a database of its own: its base URL, a caller, and the way to the database for who damages it."""
    url = installation.environment["METERHOUSE_DATABASE_URL"]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
    there = url.replace("/meterhouse?", f"/{name}?")
    other = Installation(installation.environment | {"METERHOUSE_DATABASE_URL": there}, installation.data_dir)
    subprocess.run([*COMMAND, "migrate"], env=other.environment, check=True, timeout=60)
    base_url = start_api(METERHOUSE_DATABASE_URL=there, METERHOUSE_SANDBOX="true").base_url
    caller = make_caller(other, base_url)
    return base_url, caller, there.replace("+psycopg", "")


@pytest.fixture(scope="module")
def broken(installation, start_api):
    """The worlds of a server whose tables are gone."""
    base_url, caller, url = start_elsewhere(installation, start_api, "broken")
    # An API key is looked up in a table that will not be there.
    caller = replace(caller, credentials={name: text for name, text in caller.credentials.items() if name != "apiKey"})
    worlds = furnish_all(base_url, caller)
    with psycopg.connect(url, autocommit=True) as database:
        tables = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            if table not in KEPT:
                database.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
    yield worlds
    for world in worlds.values():
        world.client.close()


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_fault_of_ours_is_500(broken, operation):
    assert_is(500, operation, broken[operation.document.name].send(plain_sample(operation)))


@pytest.fixture(scope="module")
def away(installation, start_api):
    """The worlds of a server whose database lets nobody in any more."""
    base_url, caller, url = start_elsewhere(installation, start_api, "away")
    worlds = furnish_all(base_url, caller)
    with psycopg.connect(url.replace("/away?", "/postgres?"), autocommit=True) as database:
        database.execute("ALTER DATABASE away ALLOW_CONNECTIONS false")
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'away'")
    yield worlds
    for world in worlds.values():
        world.client.close()


ASKING_NOTHING = {"preview_meter_type", "get_clock"}
"""Rows of operations that answer well without the database, for a caller whom the server remembers."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_while_the_database_is_away_the_answer_is_503(away, operation):
    """Where an operation asks nothing of the database, it is the look for an API key that fails."""
    world = away[operation.document.name]
    asks = operation.row not in ASKING_NOTHING and any(status < 300 for status in operation.responses())
    unknown = {} if asks else {"Authorization": f"Bearer {new_api_key()}"}
    assert_is(503, operation, world.send(plain_sample(operation), **unknown))
