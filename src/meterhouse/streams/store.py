"""Streams and their versions: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Result, RowMapping, and_, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import Page
from meterhouse.tables import stream_versions, streams


@dataclass(frozen=True, slots=True)
class NewVersion:
    """`document` is a JSON object's text, kept to the letter. Without a tag it is the autosaved version."""

    document: str
    tag: str | None = None
    description: str | None = None
    created_by: str | None = None


async def insert_stream(connection: AsyncConnection, account_id: UUID, name: str, now: datetime) -> RowMapping:
    """Raises ConflictError for a name that is taken."""
    values = {"account_id": account_id, "id": uuid4(), "name": name, "created_at": now, "updated_at": now}
    statement = insert(streams).values(values).on_conflict_do_nothing().returning(streams)
    created: Result[Any] = await connection.execute(statement)
    row = created.mappings().first()
    if row is None:
        raise ConflictError("the account has a stream with this name")
    return row


async def insert_version(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, version: NewVersion, now: datetime
) -> RowMapping:
    """The newest version from now on. Raises ConflictError for a tag that is taken and for a second autosaved one."""
    values = {
        "account_id": account_id,
        "stream_id": stream_id,
        "id": uuid4(),
        "tag": version.tag,
        "description": version.description,
        "document": version.document,
        "created_by": version.created_by,
        "deployed": False,
        "scheduled": False,
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(stream_versions).values(values).on_conflict_do_nothing().returning(stream_versions)
    created: Result[Any] = await connection.execute(statement)
    row = created.mappings().first()
    if row is None:
        raise ConflictError(
            "the stream has an autosaved version" if version.tag is None else "the stream has a version with this tag"
        )
    return row


async def stream_exists(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> bool:
    own = exists().where(streams.c.account_id == account_id, streams.c.id == stream_id)
    return bool((await connection.execute(select(own))).scalar_one())


async def find_version(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, tag: str | None
) -> RowMapping | None:
    """The version with this tag, or the latest, with the stream's present name."""
    c = stream_versions.c
    same = and_(streams.c.account_id == c.account_id, streams.c.id == c.stream_id)
    statement = (
        select(streams.c.name, c.tag, c.description, c.document)
        .join(streams, same)
        .where(c.account_id == account_id, c.stream_id == stream_id)
        .order_by(c.version_no.desc())
        .limit(1)
    )
    if tag is not None:
        statement = statement.where(c.tag == tag)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def list_versions(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, page: Page
) -> Sequence[RowMapping]:
    """Newest first, without their documents."""
    c = stream_versions.c
    shown = (c.id, c.tag, c.description, c.created_at, c.updated_at, c.created_by, c.deployed, c.scheduled)
    statement = select(*shown).where(c.account_id == account_id, c.stream_id == stream_id)
    rows: Result[Any] = await connection.execute(
        statement.order_by(c.version_no.desc()).limit(page.limit).offset(page.skip)
    )
    return rows.mappings().all()
