"""What the examples of the documents speak of, made in a server: each of their ids stands for a real one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx

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

    def headers(self, sample: Sample) -> dict[str, str]:
        security = sample.operation.node.value.get("security", sample.operation.document.value.get("security", []))
        schemes = [scheme for requirement in security for scheme in requirement]
        known = [scheme for scheme in schemes if scheme in self.credentials]
        assert known or not schemes, f"{sample.operation}: no credentials for {schemes}: add them in world.py"
        return {"Authorization": f"Bearer {self.credentials[known[0]]}"} if known else {}


def make_caller(installation, base_url: str) -> Caller:
    account_id = installation.run("accounts", "create", "--name", "my-account")["accountId"]
    application = installation.run("applications", "create", "--account", account_id, "--name", "contract")
    api_key = installation.run("api-keys", "create", "--account", account_id, "--name", "contract")["apiKey"]
    token = get_token(base_url, installation, application)
    return Caller(account_id, application, {"apiKey": api_key, "accessToken": token})


class World:
    """The things of one account. `fill` puts what there is in the place of what the documents call it."""

    def __init__(self, base_url: str, caller: Caller) -> None:
        self.caller = caller
        self.headers: dict[str, str] = {}
        """That every request carries."""
        headers = {"Authorization": f"Bearer {caller.credentials['accessToken']}"}
        self.client = httpx.Client(verify=TLS, base_url=base_url, headers=headers, timeout=30)
        self._known: dict[str, str] = {}

    def add(self, name: str, value: str) -> None:
        self._known[name] = value

    def close(self) -> None:
        self.client.close()

    def post(self, path: str, body: object) -> dict:
        return self.client.post(path, json=body).raise_for_status().json()

    def fill(self, sample: Sample) -> Sample:
        return replace(
            sample,
            path={name: self._real(value) for name, value in sample.path.items()},
            query=[(name, self._real(value)) for name, value in sample.query],
            headers={name: self._real(value) for name, value in sample.headers.items()},
            body=None if sample.body is None else self._real(sample.body),
        )

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


def with_bucket(world: World) -> None:
    """metering.yaml: the account's bucket with a meter, two customers and an event."""
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


FURNISHING: dict[str, Callable[[World], None]] = {"metering": with_bucket}
"""Document → what makes the things that its examples speak of. A document without things needs no line."""


def furnish(base_url: str, caller: Caller, document: str) -> World:
    """A fresh world for one example, so that examples that delete do not meet those that read."""
    world = World(base_url, caller)
    for name in ("clientId", "clientSecret", "audience"):
        world.add(f"{{{name}}}", caller.application[name])
    if document in FURNISHING:
        FURNISHING[document](world)
    return world
