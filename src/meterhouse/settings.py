"""Every setting, read from the environment once, at the edge. No other module reads the environment."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "METERHOUSE_"
FILE = "_FILE"


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


def _check_proxies(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in proxies:
        if proxies != ("*",):
            ip_network(proxy)
    return proxies


class Settings(BaseModel):
    """What may differ between two installations. Names are those of the environment, without METERHOUSE_."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Path(".meterhouse")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    base_url: str = ""
    """How clients reach this server; the issuer and the audience of tokens. Default http://host:port/."""
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_check_proxies)] = (
        "127.0.0.1",
        "::1",
    )
    """Addresses and networks, separated by spaces, whose X-Forwarded-For says who calls. `*`: whoever connects."""
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
    missed_periods: Literal["each", "collapse"] = "each"
    """Periods that ended while nobody closed them: a record for each, or one that spans them as in the real product."""
    sandbox: bool = False
    """Whether /sandbox/v1 is there, which moves the clock of metering."""
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
    """Settings from METERHOUSE_… variables; an unknown or malformed one is a SettingsError, never ignored.

    METERHOUSE_X_FILE names a file that holds METERHOUSE_X, for secrets that should not stand in the environment.
    """
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX) and value != ""}
    files = {name.removesuffix(FILE): given.pop(name) for name in list(given) if name.endswith(FILE)}
    for name, path in files.items():
        if name in given:
            raise SettingsError(f"{name}{FILE}: {name} is set too; set one of them")
        given[name] = _read_file(name + FILE, Path(path))
    try:
        return Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name, *inner = [str(part) for part in first["loc"]]
        where = PREFIX + name.upper() + "".join(f" → {part}" for part in inner if not part.startswith("dict["))
        raise SettingsError(f"{where}: {first['msg']}") from error


def _read_file(name: str, path: Path) -> str:
    try:
        value = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}: {path} cannot be read: {error}") from error
    if not value:
        raise SettingsError(f"{name}: {path} is empty")
    return value
