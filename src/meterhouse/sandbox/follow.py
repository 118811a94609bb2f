"""Processes of a sandbox follow its clock, which the database keeps for all of them."""

import contextlib

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Receive, Scope, Send

from meterhouse import clock
from meterhouse.sandbox.store import read_ahead


async def follow(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        clock.set_ahead(await read_ahead(connection))


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
