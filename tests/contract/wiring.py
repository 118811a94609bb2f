"""Every exchange of every test with one of our servers passes the contract: httpx and the OpenMeter SDK, at their send."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx
from corehttp.transport.aiohttp import AioHttpTransport
from corehttp.transport.requests import RequestsTransport
from fastapi import FastAPI

from meterhouse.aliases import PathAliases, read_aliases

from .exchange import Contract, Exchange

# Port → what the server makes of a request's path. Servers that tests run beside ours are not here.
_ours: dict[int, Callable[[str], str]] = {}


def watch(port: int, aliases: Mapping[str, str] = MappingProxyType({})) -> None:
    """From now on what is said to this port is held against the contract. `aliases`: METERHOUSE_PATH_ALIASES."""
    _ours[port] = PathAliases(FastAPI(), read_aliases(aliases, aliases.values()))._canonical


@contextmanager
def wired(contract: Contract) -> Iterator[None]:
    """While it lasts, what the clients send and receive is checked before their callers see it."""
    originals = [
        (owner, owner.send) for owner in (httpx.Client, RequestsTransport, httpx.AsyncClient, AioHttpTransport)
    ]
    for owner, send in originals[:2]:
        owner.send = _checked(contract, send)
    for owner, send in originals[2:]:
        owner.send = _checked_async(contract, send)
    try:
        yield
    finally:
        for owner, send in originals:
            owner.send = send


def _checked(contract: Contract, send: Any) -> Any:
    def checked(self: Any, request: Any, **how: Any) -> Any:
        response = send(self, request, **how)
        _check(contract, request, response)
        return response

    return checked


def _checked_async(contract: Contract, send: Any) -> Any:
    async def checked(self: Any, request: Any, **how: Any) -> Any:
        response = await send(self, request, **how)
        _check(contract, request, response)
        return response

    return checked


def _check(contract: Contract, request: Any, response: Any) -> None:
    parts = urlsplit(str(request.url))
    if parts.port not in _ours:
        return
    sent, body = _bytes_or_none(request), _bytes_or_none(response)
    url = parts._replace(path=_ours[parts.port](parts.path)).geturl()
    contract.check(Exchange(request.method, url, request.headers, sent, response.status_code, response.headers, body))


def _bytes_or_none(message: Any) -> bytes | None:
    """None for what is streamed."""
    try:
        content = message.content
    except (httpx.RequestNotRead, httpx.ResponseNotRead):
        return None
    if content is None:
        return b""
    return content.encode() if isinstance(content, str) else content if isinstance(content, bytes) else None
