"""Which server is checked, and as whom: from the command line and from a file of credentials."""

import json
from dataclasses import dataclass
from pathlib import Path

from meterhouse.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Application:
    client_id: str
    client_secret: str
    audience: str


@dataclass(frozen=True, slots=True)
class DeployedStream:
    """What is sent to the collector moves the meters with the key."""

    collector_id: str
    meter_key: str


@dataclass(frozen=True, slots=True)
class Target:
    """What is None is not checked. With `bucket_id` events stay in it; else a bucket is made for them, and deleted."""

    base_url: str
    application: Application | None
    stream: DeployedStream | None
    api_key: str | None
    bucket_id: str | None


@dataclass(frozen=True, slots=True)
class Given:
    """The command line's. What it does not say comes from the file."""

    base_url: str
    client_id: str | None
    client_secret: str | None
    audience: str | None
    api_key: str | None
    bucket: str | None


def read_target(given: Given, credentials: Path | None) -> Target:
    """Raises SettingsError: no credentials, or a file that holds none."""
    kept = _read(credentials) if credentials is not None else {}
    base_url = given.base_url.rstrip("/")
    client_id = given.client_id or kept.get("clientId")
    client_secret = given.client_secret or kept.get("clientSecret")
    audience = given.audience or kept.get("audience") or f"{base_url}/"
    application = Application(client_id, client_secret, audience) if client_id and client_secret else None
    collector_id, meter_key = kept.get("collectorId"), kept.get("meterKey")
    stream = DeployedStream(collector_id, meter_key) if collector_id and meter_key else None
    api_key = given.api_key or kept.get("apiKey")
    if application is None and api_key is None:
        raise SettingsError(
            "conformance: give --client-id and --client-secret, or --api-key, or the file with both as --credentials"
        )
    return Target(base_url, application, stream, api_key, given.bucket)


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"conformance: --credentials {path} cannot be read: {error}") from error
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise SettingsError(f"conformance: --credentials {path} is not a file of credentials")
    return kept
