"""The HTTP application: what lives as long as it does, its routes, and how its errors are answered."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg import InterfaceError as DriverInterfaceError
from psycopg import OperationalError as DriverOperationalError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access import routes as access
from meterhouse.access.clients import ClientCache
from meterhouse.access.secrets import open_secrets
from meterhouse.access.signing import SigningKeys
from meterhouse.access.token_bucket import open_token_buckets
from meterhouse.access.tokens import TokenVerifier
from meterhouse.aggregations import routes as aggregations
from meterhouse.aliases import PathAliases, read_aliases
from meterhouse.backlog import gauge_backlog
from meterhouse.buckets import routes as buckets
from meterhouse.buckets.scope import BucketCache
from meterhouse.buckets.writer import EventWriter
from meterhouse.collectors import routes as collectors
from meterhouse.collectors.inbox import InboxWriter
from meterhouse.database import make_engine, ping, require_current_schema
from meterhouse.edge import Edge, answer_error, answer_http_error
from meterhouse.errors import BadRequestError, MeterhouseError, UnavailableError, bad_fields
from meterhouse.meter_types import routes as meter_types
from meterhouse.metered_records import routes as metered_records
from meterhouse.meters import routes as meters
from meterhouse.reference import routes as reference
from meterhouse.reference.documents import read_library
from meterhouse.sandbox import routes as sandbox
from meterhouse.sandbox.follow import FollowClock
from meterhouse.settings import Settings, SettingsError
from meterhouse.streams import corrections, deliveries, management
from meterhouse.streams import routes as streams
from meterhouse.streams import secrets as stream_secrets
from meterhouse.webhooks import routes as webhooks
from meterhouse.wire import JsonReply, field_errors

_log = logging.getLogger(__name__)

# A place where a request's own part of an error path begins; what stands before it is only where it was looked for.
_PLACES = {"query", "path", "body", "header"}


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="Meterhouse", openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.add_middleware(Edge)
    app.add_exception_handler(MeterhouseError, answer_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    for away in (OperationalError, InterfaceError, PoolTimeoutError, DriverOperationalError, DriverInterfaceError):
        app.add_exception_handler(away, _answer_unavailable)
    for unstorable in (DataError, UnicodeEncodeError):
        app.add_exception_handler(unstorable, _answer_unstorable)
    app.include_router(access.router)
    app.include_router(meter_types.router)
    app.include_router(meters.router)
    app.include_router(metered_records.router)
    app.include_router(webhooks.router)
    collectors.include_in(app)
    app.include_router(streams.router)
    app.include_router(management.router)
    app.include_router(deliveries.router)
    app.include_router(stream_secrets.router)
    app.include_router(corrections.router)
    app.include_router(aggregations.router)
    buckets.include_in(app)
    if settings.sandbox:
        app.include_router(sandbox.router)
        app.add_middleware(FollowClock)
    app.include_router(reference.router)
    for health in (livez, readyz, metrics):
        app.add_api_route(f"/{health.__name__}", health, methods=["GET"])
    # Added last, it is the outermost: all that follows, errors too, sees the canonical path.
    paths = [context.path for context in iter_route_contexts(app.router.routes) if context.path is not None]
    app.add_middleware(PathAliases, aliases=read_aliases(settings.path_aliases, paths))
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Refuses to start on another schema or with a wrong secret key; then `state.refused` is why."""
    app.state.refused = None
    try:
        async with _shared(app):
            yield
    except Exception as error:
        app.state.refused = error
        raise


@asynccontextmanager
async def _shared(app: FastAPI) -> AsyncIterator[None]:
    """What requests share: built before the first, closed after the last."""
    state = app.state
    settings: Settings = state.settings
    if settings.database_url is None:
        raise SettingsError("METERHOUSE_DATABASE_URL: is not set; `meterhouse serve` brings its own database")
    state.engine = make_engine(settings.database_url, settings.database_pool_size)
    state.limiter = open_token_buckets(settings)
    state.secrets = open_secrets(settings)
    state.clients = ClientCache(state.engine, state.secrets)
    state.library = read_library(settings.audience)
    state.keys = SigningKeys(state.engine, state.secrets)
    state.tokens = TokenVerifier(state.keys, settings.audience)
    state.buckets = BucketCache(state.engine)
    state.writer = EventWriter(state.engine)
    state.inbox = InboxWriter(state.engine)
    try:
        await require_current_schema(state.engine)
        await state.keys.start()
        writing = asyncio.gather(state.writer.run(), state.inbox.run())
        # What lives for ever needs no look by the collector, whose full passes would stop requests for 70 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        yield
        state.writer.close()
        state.inbox.close()
        await writing
    finally:
        await state.clients.close()
        await state.limiter.close()
        await state.engine.dispose()


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for these"
    errors = [
        dict(one) | {"loc": one["loc"][1:] if one["loc"] and one["loc"][0] in _PLACES else one["loc"]}
        for one in error.errors()
    ]
    return await answer_error(request, bad_fields(field_errors(errors)))


async def _answer_unavailable(request: Request, error: Exception) -> Response:
    _log.warning("the database failed a request: %s", str(error).partition("\n")[0])
    return await answer_error(
        request, UnavailableError("the database is unavailable: try again", headers={"Retry-After": "1"})
    )


async def _answer_unstorable(request: Request, error: Exception) -> Response:
    """Values are checked where they are read; this is for what slipped through, which is input all the same."""
    _log.warning("the database refused a value: %s", str(error).partition("\n")[0])
    return await answer_error(request, BadRequestError("a value in the request cannot be stored or compared"))


async def livez() -> Response:
    """The process answers."""
    return JsonReply({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether requests can be served. Without Redis they can, unchecked: that is `degraded`, and still ready."""
    state = request.app.state
    checks: dict[str, object] = {}
    try:
        async with asyncio.timeout(5):
            await ping(state.engine)
            checks["postgres"] = "ok"
            await require_current_schema(state.engine)
            checks["schema"] = "current"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        checks["postgres" if "postgres" not in checks else "schema"] = str(error).partition("\n")[0] or "timeout"
    ready = checks.get("schema") == "current"
    if state.settings.rate_limits != "off":
        await state.limiter.peek("failed_login", "readyz")
        checks["redis"] = "ok" if state.limiter.available else "unavailable: rate limits are not enforced"
    now = clock.now()
    for name, writer in (("writer", state.writer), ("inbox", state.inbox)):
        checks[name] = {"waiting": writer.waiting_size, "lagSeconds": writer.lag_seconds(now)}
    degraded = ready and not state.limiter.available
    status = "degraded" if degraded else "ok" if ready else "unavailable"
    return JsonReply({"status": status, "checks": checks}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    await gauge_backlog(request.app.state.engine)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
