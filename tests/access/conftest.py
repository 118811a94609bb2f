"""Applications and API keys of a fresh account, and the ways they call."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

TOKEN_PATH = "/authentication/v1/oauth/token"
AUDIENCE = "http://meterhouse.test/"


@dataclass(frozen=True)
class Application:
    """As `meterhouse applications create` printed it."""

    account_id: str
    client_id: str
    client_secret: str

    def asks(self, **changes: object) -> dict:
        """The members of a token request; a member changed to None is left out."""
        members = {
            "audience": AUDIENCE,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "grant_type": "client_credentials",
        }
        return {name: value for name, value in (members | changes).items() if value is not None}

    def token(self, base_url: str, **changes: object) -> str:
        return httpx.post(base_url + TOKEN_PATH, json=self.asks(**changes)).raise_for_status().json()["access_token"]


@pytest.fixture(scope="session")
def make_application(installation, make_account) -> Callable[..., Application]:
    def make(*more: str, account_id: str | None = None) -> Application:
        account_id = account_id or make_account()
        made = installation.run("applications", "create", "--account", account_id, "--name", "test", *more)
        return Application(account_id, made["clientId"], made["clientSecret"])

    return make


@pytest.fixture(scope="session")
def application(make_application) -> Application:
    """For tests that change nothing about it."""
    return make_application()


@pytest.fixture(scope="session")
def make_api_key(installation, make_account) -> Callable[..., dict]:
    def make(*more: str, account_id: str | None = None) -> dict:
        account_id = account_id or make_account()
        return installation.run("api-keys", "create", "--account", account_id, "--name", "test", *more)

    return make


@pytest.fixture
def ask(api) -> Callable[..., httpx.Response]:
    """Sends a token request."""
    return lambda **how: httpx.post(api.base_url + TOKEN_PATH, **how)


def list_buckets(base_url: str, credentials: str) -> httpx.Response:
    """An operation that needs the scope read:buckets."""
    return httpx.get(f"{base_url}/v1/metering", headers={"Authorization": f"Bearer {credentials}"})
