"""The engine, the one way to open a transaction, and whether the schema is current."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import Depends, Request
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from meterhouse.wire import encode_plain, read_body

STATEMENT_TIMEOUT_SECONDS = 60
LOCK_TIMEOUT_SECONDS = 10


class SchemaNotCurrentError(Exception):
    """The database holds another schema than this program was built for."""


def make_engine(url: str, pool_size: int) -> AsyncEngine:
    options = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c lock_timeout={LOCK_TIMEOUT_SECONDS}s -c timezone=UTC"
    )
    return create_async_engine(
        _with_driver(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        json_serializer=lambda value: encode_plain(value).decode(),
        json_deserializer=_exact_json,
        connect_args={"options": options, "application_name": "meterhouse"},
    )


_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def _exact_json(text: str | bytes) -> Any:
    """Numbers as they are stored: no float, and integers of any length."""
    try:
        return _decode(text)
    except msgspec.MsgspecError:  # an integer of thousands of digits, or half a surrogate pair
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _with_driver(url: str) -> str:
    """`postgres://` and `postgresql://`, as platforms hand them out, with the driver that is installed."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


async def transaction(request: Request) -> AsyncIterator[AsyncConnection]:
    if request.method not in ("GET", "HEAD", "DELETE"):
        # Before a connection is taken: a client that sends slowly must not hold one.
        await read_body(request)
    engine: AsyncEngine = request.app.state.engine
    async with engine.begin() as connection:
        yield connection


# scope="function": the commit happens before the answer is sent, so a failed commit is never a success.
Transaction = Annotated[AsyncConnection, Depends(transaction, scope="function")]


def _alembic_config() -> Config:
    packaged = Path(__file__).parent / "migrations"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    return config


def migrate(url: str) -> None:
    """Bring the schema to the newest revision. Several at once wait for one another (see migrations/env.py)."""
    config = _alembic_config()
    engine = create_engine(_with_driver(url))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def require_current_schema(engine: AsyncEngine) -> None:
    """Raises SchemaNotCurrentError, with what to do about it."""
    wanted = ScriptDirectory.from_config(_alembic_config()).get_current_head()
    async with engine.connect() as connection:
        found = await connection.run_sync(_revision)
    if found != wanted:
        raise SchemaNotCurrentError(
            f"the database schema is at revision {found or 'none'}, this program needs {wanted}:"
            " run `meterhouse migrate`"
        )


async def ping(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
