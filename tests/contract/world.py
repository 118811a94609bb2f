"""What the examples of the documents speak of, made in a server: each of their ids stands for a real one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import psycopg

from meterhouse.rules.sessions import session_key
from tests.conftest import TLS
from tests.tenants import get_token

from .samples import Sample

TOKENS = {
    "slug": "tokens_total",
    "aggregation": "SUM",
    "eventType": "prompt",
    "valueProperty": "$.tokens",
    "groupBy": {"vendor": "$.vendor", "model": "$.model"},
}


@dataclass(frozen=True)
class Caller:
    """Credentials by the names that the documents' security schemes have, and the account that they open."""

    account_id: str
    application: dict[str, str]
    credentials: dict[str, str]
    database_url: str

    def headers(self, sample: Sample) -> dict[str, str]:
        security = sample.operation.node.value.get("security", sample.operation.document.value.get("security", []))
        if {} in security:
            return {}
        schemes = [scheme for requirement in security for scheme in requirement]
        known = [scheme for scheme in schemes if scheme in self.credentials]
        assert known or not schemes, f"{sample.operation}: no credentials for {schemes}: add them in world.py"
        return {"Authorization": f"Bearer {self.credentials[known[0]]}"} if known else {}


def make_caller(installation, base_url: str) -> Caller:
    account_id = installation.run("accounts", "create", "--name", "my-account")["accountId"]
    application = installation.run("applications", "create", "--account", account_id, "--name", "contract")
    api_key = installation.run("api-keys", "create", "--account", account_id, "--name", "contract")["apiKey"]
    token = get_token(base_url, installation, application)
    database_url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    return Caller(account_id, application, {"apiKey": api_key, "accessToken": token}, database_url)


class World:
    """The things of one account. `fill` puts what there is in the place of what the documents call it."""

    def __init__(self, base_url: str, caller: Caller) -> None:
        self.caller = caller
        self.headers: dict[str, str] = {}
        """That every request carries."""
        headers = {"Authorization": f"Bearer {caller.credentials['accessToken']}"}
        self.client = httpx.Client(verify=TLS, base_url=base_url, headers=headers, timeout=30)
        self._known: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self._mine: list[str] = []

    def add(self, name: str, value: str) -> None:
        """What the examples call `name` is `value` here."""
        self._known[name] = value

    def put(self, place: str, value: str) -> None:
        """The last parameter of a path, and of all that begin with it, is `value` here, whatever the examples say."""
        self._places[place] = value

    def close(self) -> None:
        for path in self._mine:
            self.client.delete(path)
        self.client.close()

    def take_away(self, path: str) -> None:
        """What is limited in number does not outlive the world."""
        self._mine.append(path)

    def place(self, place: str) -> str:
        return self._places[place]

    def post(self, path: str, body: object) -> dict:
        return self.client.post(path, json=body).raise_for_status().json()

    def fill(self, sample: Sample) -> Sample:
        return replace(
            sample,
            path={name: self._in_path(sample, name) for name in sample.path},
            query=[(name, self._real(value)) for name, value in sample.query],
            headers={name: self._real(value) for name, value in sample.headers.items()},
            body=None if sample.body is None else self._real(sample.body),
        )

    def _in_path(self, sample: Sample, name: str) -> str:
        place = sample.operation.path.partition(f"{{{name}}}")[0] + f"{{{name}}}"
        return self._places.get(place) or self._real(sample.path[name])

    def _real(self, text: str) -> str:
        for name, value in self._known.items():
            text = text.replace(name, value)
        return text

    def send(self, sample: Sample, base_url: str | None = None, **more: str) -> httpx.Response:
        """To the server that the world is in, or to another on the same database. `more`: headers."""
        filled = self.fill(sample)
        headers = self.headers | self.caller.headers(sample) | filled.headers | more
        url = (base_url or str(self.client.base_url).rstrip("/")) + filled.url()
        return httpx.request(sample.operation.method, url, headers=headers, content=filled.body, verify=TLS, timeout=30)


def with_bucket(world: World, row: str | None) -> None:
    """metering.yaml: a bucket with a meter and two customers, and a portal token for it."""
    bucket_id = world.post("/v1/metering", {})["id"]
    world.add("mtr_STYBm01FabkgZOP3KtkYdJuO", bucket_id)
    world.headers["X-Bucket-Id"] = world.client.headers["X-Bucket-Id"] = bucket_id
    place = f"/v3/metering/{bucket_id}"
    world.post(f"{place}/meters", TOKENS)
    for number, key in ((1, "acme"), (2, "other")):
        customer = {"name": key, "key": key, "usageAttribution": {"subjectKeys": [f"subject-{number}"]}}
        world.add(f"customer-{number}", world.post(f"{place}/customers", customer)["id"])
    portal_token = world.post("/api/v1/portal/tokens", {"subject": "subject-1"})["token"]
    world.caller = replace(world.caller, credentials=world.caller.credentials | {"portalToken": portal_token})
    now = datetime.now(UTC)
    # What the seed's dates are for: a range that is over, and an end that is to come.
    world.add("2025-01-01T00:00:00.000Z", (now - timedelta(days=20)).isoformat().replace("+00:00", "Z"))
    world.add("2025-02-01T00:00:00.000Z", now.isoformat().replace("+00:00", "Z"))
    world.add("2026-12-31T23:59:59Z", (now + timedelta(days=30)).isoformat().replace("+00:00", "Z"))


_numbers = count(1)


def with_usage_engine(world: World, row: str | None) -> None:
    """usage-engine.yaml: the things of which the operation speaks. Names are new, for the account keeps them."""
    number = next(_numbers)
    for name in ("Usage based API counter", "Seats in use (peak)", "Metering", "My Stream", "Updated Collector Name"):
        world.add(f'"{name}"', f'"{name} {number}"')
    for name, member in (("u4grtTy18E2DYANsv0G174aSxR3EeOiA", "clientId"), ("http://127.0.0.1:8000/", "audience")):
        for spell in (str, quote_plus):
            world.add(spell(name), spell(world.caller.application[member]))
    secret = "U6qN9NTgis3MLeleRXtLgIxtRE-qhpZcPJ_5eoNtNQYcodiY9q0Abs3afgpbX3M6"
    world.add(secret, world.caller.application["clientSecret"])
    world.add("user0@example.com", f"user0-{number}@example.com")
    things = {"meter": with_meter, "collector": with_collector, "data": with_collector, "ingestion": with_collector}
    things |= {"stream": with_stream, "secret": with_secret, "record": with_stream, "session": with_session}
    things |= {"webhook": with_webhook, "clock": with_clock}
    for furnish_with in dict.fromkeys(make for thing, make in things.items() if thing in (row or thing)):
        furnish_with(world, number, row)
    if row == "create_meter_type":
        world.add("878752b4-4ddf", f"new-{number}")


def with_meter(world: World, number: int, row: str | None) -> None:
    reset = {"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"}
    meter_type = {
        "name": f"Type {number}",
        "unit": "requests",
        "aggregation": {"type": "sum"},
        "resetSchedule": reset,
        "timezone": "Etc/UTC",
        "externalRef": f"ref-{number}",
    }
    type_id = world.post("/usage-metering/v1/meter-types", meter_type)["id"]
    world.put("/usage-metering/v1/meter-types/{id}", type_id)
    world.add("645ed240-02b5-400c-9a3c-21857e8f2ac4", type_id)
    world.add("878752b4-4ddf", f"ref-{number}")
    meter = {"meterKey": str(uuid4()), "meterTypeId": type_id, "userId": "somebody"}
    meter_id = world.post("/usage-metering/v1/meters", meter)["id"]
    if row == "delete_meter_type":
        world.client.delete(f"/usage-metering/v1/meters/{meter_id}")
    world.put("/usage-metering/v1/meters/{id}", meter_id)


def with_webhook(world: World, number: int, row: str | None) -> None:
    place = "/usage-metering/v1/webhooks"
    world.add("https://billing.example.com/hooks/", f"https://billing.example.com/{number}/")
    webhook_id = world.post(place, {"url": f"https://billing.example.com/{number}"})["id"]
    world.put(f"{place}/{{id}}", webhook_id)
    world.take_away(f"{place}/{webhook_id}")


def with_clock(world: World, number: int, row: str | None) -> None:
    """An instant a moment ahead of wherever the sandbox's clock stands."""
    answer = world.client.get("/sandbox/v1/clock")
    if answer.is_success:
        shown = datetime.fromisoformat(answer.json()["now"])
        world.add("2099-02-01T00:00:00.000Z", (shown + timedelta(minutes=1)).isoformat())


def with_collector(world: World, number: int, row: str | None) -> None:
    place = "/online-collection/v1/collectors"
    collector_id = world.post(place, {"name": f"Collector {number}"})["id"]
    world.put(f"{place}/{{id}}", collector_id)
    world.take_away(f"{place}/{collector_id}")
    ingestion_id = world.post(f"{place}/{collector_id}/send", {"data": {}})["ingestionId"]
    world.put(f"{place}/{{id}}/ingestions/{{ingestionId}}", ingestion_id)


def with_stream(world: World, number: int, row: str | None) -> None:
    place = "/stream-management/v1/streams"
    nodes = [
        {"id": "count", "type": "readers/counter", "schemaVersion": 1, "name": "Count", "params": {"max": 5}},
        {"id": "log", "type": "writers/log", "schemaVersion": 1, "name": "Log", "params": {}},
    ]
    edges = [{"id": "edge", "from": "count", "to": "log", "config": {}}]
    document = {"name": f"Stream {number}", "nodes": nodes, "edges": edges, "nodeGroups": []}
    first = {"tag": "v0.1" if row == "tag_stream_version" else "v1.0"}
    stream_id = world.post(f"{place}/import", {"stream": document} | first)["id"]
    world.put(f"{place}/{{id}}", stream_id)
    world.add("6a1e7b8e-5f0c-4b5c-8f0e-1f6d8f0a7c11", stream_id)
    if row is None or "version" in row:
        (version,) = world.client.get(f"{place}/{stream_id}/versions").raise_for_status().json()["versions"]
        world.put(f"{place}/{{id}}/versions/{{versionId}}", version["id"])
        # An autosaved version, which can be tagged, and beside which the other can be deleted.
        world.post(f"{place}/import", {"stream": document, "conflictStrategy": "overwrite"})
    if row is None or "run" in row:  # while it runs, it can be neither started nor deleted
        run_id = world.post(f"{place}/{stream_id}/start", None)["runId"]
        world.put(f"{place}/{{id}}/runs/{{runId}}", run_id)


def with_secret(world: World, number: int, row: str | None) -> None:
    secret = {"name": f"Secret {number}", "type": "bearer", "token": "x"}
    world.put("/stream-management/v1/secrets/{id}", world.post("/stream-management/v1/secrets", secret)["id"])
    world.add("3c2a1f7e-8b9d-4e60-9a53-0d1e2f3a4b5c", str(uuid4()))


def with_session(world: World, number: int, row: str | None) -> None:
    """Sessions are made by streams only: this one is put into the database."""
    with psycopg.connect(world.caller.database_url) as database:
        database.execute(
            "INSERT INTO aggregation_sessions VALUES (%s, %s, %s, '{}', '{}', NULL, now(), now()) ON CONFLICT DO NOTHING",
            (
                world.caller.account_id,
                "a83230416378defea69ed7a194de4a0a85fee70c",
                session_key(["customer123", "order456"]),
            ),
        )


FURNISHING: dict[str, Callable[[World, str | None], None]] = {
    "metering": with_bucket,
    "usage-engine": with_usage_engine,
}
"""Document → what makes the things that an operation's examples speak of. A document without things needs no line."""


def furnish(base_url: str, caller: Caller, document: str, row: str | None = None) -> World:
    """A fresh world, with what one operation's examples speak of, or with everything."""
    world = World(base_url, caller)
    if document in FURNISHING:
        FURNISHING[document](world, row)
    return world
