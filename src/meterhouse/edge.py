"""What every request passes on its way in and out: its id, the rate-limit headers, one log line, the metrics."""

import logging
import re
from http import HTTPStatus
from time import perf_counter
from typing import Any
from uuid import uuid4

from fastapi.routing import iter_route_contexts
from prometheus_client import Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meterhouse import clock, logs
from meterhouse.access.gate import RATE_LIMIT_SCOPE
from meterhouse.errors import (
    BadRequestError,
    MeterhouseError,
    MethodNotAllowedError,
    NotFoundError,
    TooLargeError,
    problem_body,
    usage_engine_body,
)
from meterhouse.wire import JsonReply, rfc3339

_log = logging.getLogger("meterhouse.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_FAULT = "the server failed: its log tells why, under the id of this request"
_PROBLEM_PATHS = ("/api/v1/", "/api/v2/", "/v1/metering", "/v3/metering")

_requests = Counter("meterhouse_requests_total", "Requests answered.", ["operation", "status"])
_seconds = Histogram(
    "meterhouse_request_seconds",
    "Time from the request's head to the end of the answer.",
    ["operation"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)


class Edge:
    """ASGI middleware, written plainly: it runs on the hottest path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        request_id = _request_id(scope)
        token = logs.request_id.set(request_id)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                headers.append((b"x-request-id", request_id.encode()))
                for name, value in scope.get(RATE_LIMIT_SCOPE, {}).items():
                    headers.append((name.lower().encode(), value.encode()))
            await send(message)

        try:
            if "\x00" in scope["path"]:  # no name that is kept can hold it
                await _reply(scope, NotFoundError("there is nothing at this path"))(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("a request failed")
            if status:
                raise  # the answer has begun: the server can only break the connection
            await _reply(scope, MeterhouseError(_FAULT))(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, perf_counter() - started)
            logs.request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        endpoint = scope.get("endpoint")
        operation = getattr(endpoint, "__name__", "unmatched")
        _requests.labels(operation, status).inc()
        _seconds.labels(operation).observe(seconds)
        if _log.isEnabledFor(logging.INFO) and operation not in ("livez", "readyz", "metrics"):
            fields = {
                "method": scope["method"],
                "path": scope["path"],
                "operation": operation,
                "status": status,
                "milliseconds": round(seconds * 1000, 2),
            }
            _log.info("answered", extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return given
    return uuid4().hex


def _reply(scope: Scope, error: MeterhouseError) -> Response:
    """The error in the dialect of the path that was asked for."""
    path: str = scope["path"]
    if not path.startswith(_PROBLEM_PATHS):
        body = usage_engine_body(error)
        return JsonReply(body, body["statusCode"], headers=error.headers)
    request_id = logs.request_id.get()
    problem: dict[str, Any] = problem_body(error, request_id)
    if path.startswith(("/v1/metering", "/v3/metering")):
        problem["trace"] = {"timestamp": rfc3339(clock.real_now()), "requestId": request_id}
    return JsonReply(problem, error.status, headers=error.headers, media_type="application/problem+json")


async def answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MeterhouseError), "registered for these"
    return _reply(request.scope, error)


def _methods_at(request: Request) -> set[str]:
    """Of every route with this path: the framework tells only those of the first."""
    path = request.scope["path"]
    contexts = iter_route_contexts(request.app.router.routes)
    return {method for route in contexts if route.path_regex.match(path) for method in route.methods or ()}


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown routes, wrong methods, broken requests."""
    assert isinstance(error, HTTPException), "registered for these"
    headers = dict(error.headers or {})
    path = request.url.path
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    known: dict[int, MeterhouseError] = {
        404: NotFoundError(f"there is nothing at {path}", headers=headers),
        405: MethodNotAllowedError(f"{request.method} is not allowed at {path}", headers=headers),
        413: TooLargeError("the request body is too large", headers=headers),
    }
    return _reply(request.scope, known.get(error.status_code) or BadRequestError(str(error.detail), headers=headers))
