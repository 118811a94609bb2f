"""An account with an application, and clients that carry its token: what tests of the Usage Engine's API call with."""

from dataclasses import dataclass, field

import httpx

from .conftest import TLS


@dataclass(frozen=True)
class Tenant:
    """`client()` calls the first server, or the one that is named, as this account's application."""

    account_id: str
    token: str
    base_url: str
    opened: list[httpx.Client] = field(default_factory=list)

    def client(self, base_url: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        made = httpx.Client(verify=TLS, base_url=base_url or self.base_url, headers=headers, timeout=30)
        self.opened.append(made)
        return made


def make_tenant(installation, base_url: str, *scopes: str) -> Tenant:
    """A fresh account. Without scopes its application has all."""
    account_id = installation.run("accounts", "create", "--name", "test")["accountId"]
    more = ("--scopes", " ".join(scopes)) if scopes else ()
    made = installation.run("applications", "create", "--account", account_id, "--name", "test", *more)
    return Tenant(account_id, get_token(base_url, installation, made), base_url)


def get_token(base_url: str, installation, application: dict) -> str:
    asked = {
        "audience": installation.environment["METERHOUSE_BASE_URL"],
        "client_id": application["clientId"],
        "client_secret": application["clientSecret"],
        "grant_type": "client_credentials",
    }
    answer = httpx.post(f"{base_url}/authentication/v1/oauth/token", json=asked, verify=TLS)
    return answer.raise_for_status().json()["access_token"]


def refused(response: httpx.Response, status: int) -> dict:
    """The body of a refusal, its form checked."""
    assert response.status_code == status, f"{response.status_code} {response.text[:500]}"
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["statusCode"] == status
    assert set(body) - {"details"} == {"statusCode", "error", "message"}
    return body


def paths_of(body: dict) -> list[str]:
    return [detail["path"] for detail in body.get("details", [])]
