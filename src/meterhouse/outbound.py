"""Calls to other servers that a tenant may ask for: only to public addresses, or to hosts that the operator maps."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

MAX_URL_LENGTH = 8_192
MAX_ANSWER_BYTES = 4 * 1024 * 1024
CALL_TIMEOUT_SECONDS = 30
_CONNECT_TIMEOUT_SECONDS = 10
_MAX_CONNECTIONS = 32
_MAX_ADDRESSES = 4
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# The connection's own headers, which nobody else sets. Compressed answers could be far larger than they look.
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "accept-encoding"})

# The special-purpose addresses of IANA, and 168.63.129.16, behind which Azure keeps what is a machine's own.
_REFUSED_V4 = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Outside of 2000::/3 nothing is public: not ::1, fc00::, fe80::, ff00::, nor what stands for IPv4 (::ffff:, 64:ff9b::).
_PUBLIC_V6 = ip_network("2000::/3")
_REFUSED_V6 = tuple(ip_network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))


class CallFailedError(Exception):
    """There is no answer. Says why, for the author of the stream."""


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers`: names in lower case; a repeated one's values are joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def excerpt(self) -> str:
        """The beginning of the body, to be shown with an error."""
        return self.body[:200].decode(errors="replace").replace("\x00", "\ufffd")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)


def require_callable(text: str, hosts: Mapping[str, str]) -> None:
    """Raises CallFailedError for a URL whose call must fail, as far as can be told without looking up its host."""
    try:
        url, trusted = _place(text, hosts)
    except (httpx.InvalidURL, ValueError) as error:
        raise CallFailedError(f"the URL cannot be read: {str(error)[:200]}") from None
    host = url.raw_host.decode().lower().removesuffix(".")
    address = _literal_address(host)
    private = host == "localhost" or host.endswith(".localhost") or (address is not None and not is_public(address))
    if private and not trusted:
        raise _not_public(host)


def _place(text: str, hosts: Mapping[str, str]) -> tuple[httpx.URL, bool]:
    """Where the call goes, and whether the operator said so."""
    if len(text) > MAX_URL_LENGTH:
        raise CallFailedError(f"the URL has more than {MAX_URL_LENGTH} characters")
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise CallFailedError("the URL must begin with http:// or https:// and a host")
    if url.userinfo:
        raise CallFailedError("the URL must not hold a user or a password")
    if url.port is not None and not 0 < url.port < 65_536:
        raise CallFailedError("the URL's port must be between 1 and 65535")
    base_url = hosts.get(url.host.lower().removesuffix("."))
    if base_url is None:
        return url, False
    return httpx.URL(base_url.rstrip("/") + url.raw_path.decode()), True


def _literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that stands in place of a name, in any of its forms (2130706433, 0x7f000001, 127.1)."""
    with contextlib.suppress(ValueError):
        return ip_address(host.partition("%")[0])
    with contextlib.suppress(OSError, UnicodeError):
        return IPv4Address(socket.inet_aton(host))
    return None


def _not_public(host: str) -> CallFailedError:
    return CallFailedError(f"the host {host[:253]} is not public, and this installation does not allow it")


class Outbound:
    """`hosts`: host → base URL. A host in it is trusted, wherever it leads; its base URL takes the place of
    scheme, host and port. Proxies of the environment are not used, redirects not followed, cookies not kept.
    """

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = hosts
        # Every call has a connection of its own: one that was made for another name at the same address must not
        # carry it.
        self._transport = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0)
        )

    async def close(self) -> None:
        await self._transport.aclose()

    def require_callable(self, text: str) -> None:
        require_callable(text, self._hosts)

    async def call(self, call: Call) -> Answer:
        """Raises CallFailedError, whatever the reason."""
        if call.method not in _METHODS:
            raise CallFailedError(f"the method {call.method[:20]!r} is not one of HTTP's")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                url, trusted = _place(call.url, self._hosts)
                return await self._send(call, url, await _resolve(url, trusted=trusted))
        except TimeoutError:
            raise CallFailedError(f"no answer within {CALL_TIMEOUT_SECONDS} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            said = str(error).replace("\x00", "\ufffd")[:200]
            raise CallFailedError(f"the call failed: {type(error).__name__} {said}".rstrip()) from None

    async def _send(self, call: Call, url: httpx.URL, addresses: Iterable[str]) -> Answer:
        """To the first address that can be connected to: each was checked, and none is looked up again."""
        headers = {name: value for name, value in call.headers.items() if name.lower() not in _OURS}
        headers |= {"Host": url.netloc.decode(), "Accept-Encoding": "identity", "Connection": "close"}
        if not any(name.lower() == "user-agent" for name in headers):
            headers["User-Agent"] = "meterhouse"
        timeouts = httpx.Timeout(CALL_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS).as_dict()
        extensions = {"timeout": timeouts, "sni_hostname": url.raw_host.decode().removesuffix(".")}
        refused: httpx.TransportError | None = None
        for address in addresses:
            request = httpx.Request(
                call.method, url.copy_with(host=address), headers=headers, content=call.body, extensions=extensions
            )
            try:
                response = await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                refused = error
                continue
            try:
                return await _read(response)
            finally:
                await response.aclose()
        assert refused is not None, "there is an address"
        raise refused


async def _resolve(url: httpx.URL, *, trusted: bool) -> list[str]:
    """The host's addresses. All of them must be public: a name with a private one among them is not to be trusted.

    Numbers in other forms (2130706433, 0x7f000001, 127.1) are read here by the same function that would connect.
    """
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.raw_host.decode()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise CallFailedError(f"the host {host[:253]} is unknown") from None
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not addresses:
        raise CallFailedError(f"the host {host[:253]} has no address")
    if not trusted and not all(is_public(ip_address(address.partition("%")[0])) for address in addresses):
        raise _not_public(host)
    return addresses[:_MAX_ADDRESSES]


async def _read(response: httpx.Response) -> Answer:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise CallFailedError("the answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise CallFailedError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status_code, dict(response.headers.items()), bytes(body))
