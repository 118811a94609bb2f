"""Processes of a sandbox follow its clock, which the database keeps for all of them."""

import contextlib
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.types import ASGIApp, Receive, Scope, Send

from meterhouse import clock
from meterhouse.sandbox.store import read_ahead


async def follow(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await read_clock(connection)


async def read_clock(connection: AsyncConnection) -> datetime:
    """The present instant, which is not before any that was set when this began."""
    clock.set_ahead(await read_ahead(connection))
    return clock.now()


class FollowClock:
    """ASGI middleware of sandboxes alone: each request sees what an earlier one, to any process, has set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Without the database the request fails by itself, and is answered as everywhere.
            with contextlib.suppress(SQLAlchemyError):
                await follow(scope["app"].state.engine)
        await self._app(scope, receive, send)
