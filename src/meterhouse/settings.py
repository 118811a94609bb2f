"""Every setting, read from the environment once, at the edge. No other module reads the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "METERHOUSE_"


class SettingsError(Exception):
    """One line that names the setting and what is wrong with it."""


class Rate(BaseModel):
    """A token bucket: `burst` calls at once, refilled at `requests` per `window_seconds`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Annotated[int, Field(ge=1, le=100_000_000)]
    window_seconds: Annotated[int, Field(ge=1, le=86_400)]
    burst: Annotated[int, Field(ge=1, le=10_000_000)]


def _read_json(value: object) -> object:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"not JSON: {error}") from error
    return value


def _split(value: object) -> object:
    return tuple(value.split()) if isinstance(value, str) else value


def _check_hosts(hosts: dict[str, str]) -> dict[str, str]:
    for host, base_url in hosts.items():
        if host != host.lower() or urlsplit(f"//{host}").netloc != host or not host.strip(".") or ":" in host:
            raise ValueError(f"{host!r} is not a host's name in lower case, without scheme and port")
        parts = urlsplit(base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
        ):
            raise ValueError(f"{base_url!r} is not a base URL: http or https, host and perhaps port and path")
    return hosts


class Settings(BaseModel):
    """What may differ between two installations. Names are those of the environment, without METERHOUSE_."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Path(".meterhouse")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    base_url: str = ""
    """How clients reach this server; the issuer and the audience of tokens. Default http://host:port/."""
    database_url: str | None = None
    redis_url: str | None = None
    secret_key: Annotated[str, Field(min_length=32)] | None = None
    """Keys the hashes of secrets and encrypts the signing keys. Default: a file in the data directory."""
    rate_limits: Annotated[Literal["off"] | dict[str, Rate], BeforeValidator(_read_json)] = {}
    """`off`, or operation → rate, laid over the defaults of access/operations.py."""
    path_aliases: Annotated[dict[str, str], BeforeValidator(_read_json)] = {}
    """Other path → canonical path, both with {placeholders}; read by aliases.py."""
    audiences: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """What else a token request may name as the audience, separated by spaces; the tokens are the same."""
    http_hosts: Annotated[dict[str, str], BeforeValidator(_read_json), AfterValidator(_check_hosts)] = {}
    """Host → base URL for the calls of streams. Such a host may be private; all others must be public."""
    flush_seconds: Annotated[int, Field(ge=1, le=3_600)] = 60
    """How often real-time streams look at what is due by time: time-outs of sessions, flushes."""
    database_pool_size: Annotated[int, Field(ge=2, le=200)] = 10
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def audience(self) -> str:
        """The base URL with a trailing slash, as the Usage Engine's clients send it."""
        url = self.base_url or f"http://{self.host}:{self.port}"
        return url.rstrip("/") + "/"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from METERHOUSE_… variables; an unknown or malformed one is a SettingsError, never ignored."""
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX) and value != ""}
    try:
        return Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name, *inner = [str(part) for part in first["loc"]]
        where = PREFIX + name.upper() + "".join(f" → {part}" for part in inner if not part.startswith("dict["))
        raise SettingsError(f"{where}: {first['msg']}") from error
