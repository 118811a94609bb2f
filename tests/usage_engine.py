"""Accounts of the usage metering API, their data with good defaults, and the requests that nearly every test makes."""

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

MISSING = object()
"""As a value: the member is left out."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Account:
    """An account with an application; the client carries its access token."""

    id: str
    client: httpx.Client

    def get(self, path, **params):
        return self.client.get(path, params=params)

    def post(self, path, body):
        return self.client.post(path, json=body)

    def patch(self, path, body):
        return self.client.patch(path, json=body)

    def delete(self, path):
        return self.client.delete(path)

    def add_type(self, **changes):
        return created(self.post("/meter-types", make_type(**changes)))

    def add_meter(self, meter_type, **changes):
        return created(self.post("/meters", make_meter(meterTypeId=meter_type["id"], **changes)))


@contextmanager
def open_account(installation, api, *more):
    account_id = installation.run("accounts", "create", "--name", "usage engine")["accountId"]
    made = installation.run("applications", "create", "--account", account_id, "--name", "test", *more)
    asked = {
        "audience": made["audience"],
        "client_id": made["clientId"],
        "client_secret": made["clientSecret"],
        "grant_type": "client_credentials",
    }
    token = httpx.post(f"{api.base_url}/authentication/v1/oauth/token", json=asked).raise_for_status().json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    base_url = f"{api.base_url}/usage-metering/v1"
    with httpx.Client(base_url=base_url, headers=headers, timeout=30) as client:
        yield Account(account_id, client)


@pytest.fixture(scope="session")
def account(installation, api):
    """For tests whose data do not meet: names are new each time."""
    with open_account(installation, api) as opened:
        yield opened


@pytest.fixture(scope="session")
def stranger(installation, api):
    with open_account(installation, api) as opened:
        yield opened


@pytest.fixture(scope="module")
def untouched(installation, api):
    """An account of one module's own, where it can say what there is in all."""
    with open_account(installation, api) as opened:
        yield opened


def make_type(**changes):
    meter_type = {
        "name": f"Type {next(_numbers)}",
        "unit": "requests",
        "aggregation": {"type": "sum"},
        "resetSchedule": make_schedule(),
        "timezone": "Etc/UTC",
    }
    return _without_missing(meter_type | changes)


def make_schedule(**changes):
    return _without_missing({"minute": "0", "hour": "0", "day": "1", "month": "*", "weekday": "*"} | changes)


def make_meter(**changes):
    meter = {"meterKey": "2c834594-1205-43de-a232-659325162b6c", "userId": f"user{next(_numbers)}@example.com"}
    return _without_missing(meter | changes)


def _without_missing(members):
    return {name: value for name, value in members.items() if value is not MISSING}


def created(response):
    assert response.status_code == 201, response.text
    return response.json()


def ok(response):
    assert response.status_code == 200, response.text
    return response.json()


def refused(response, status=400):
    """The message of an error, its form checked."""
    phrases = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict"}
    assert response.status_code == status, f"{response.status_code} {response.text[:500]}"
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() - {"details"} == {"statusCode", "error", "message"}
    assert (body["statusCode"], body["error"]) == (status, phrases[status])
    return body


def assert_names(body, field):
    """A detail of the error is about the field, or about something inside of it."""
    paths = [detail["path"] for detail in body.get("details", [])]
    assert any(re.match(rf"{re.escape(field)}($|[.\[])", path) for path in paths), body


def spelled(response, member):
    """The values of a member as they are spelled in the response."""
    return re.findall(rf'"{member}"\s*:\s*([^,}}\]\s]+)', response.text)


def exact(text):
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def ahead(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def at_once(calls):
    """The responses of calls made side by side."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
