"""Streams and their versions: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Result, RowMapping, and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import Page
from meterhouse.tables import stream_versions, streams

MAX_TAGGED_VERSIONS = 100


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


async def lock_stream(connection: AsyncConnection, account_id: UUID, name: str) -> UUID | None:
    """The id of the stream with this name, until the transaction ends its own."""
    own = and_(streams.c.account_id == account_id, streams.c.name == name)
    return (await connection.execute(select(streams.c.id).where(own).with_for_update())).scalar_one_or_none()


async def find_stream(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> RowMapping | None:
    own = and_(streams.c.account_id == account_id, streams.c.id == stream_id)
    found: Result[Any] = await connection.execute(select(streams).where(own))
    return found.mappings().first()


async def list_streams(
    connection: AsyncConnection, account_id: UUID, name: str | None, page: Page
) -> Sequence[RowMapping]:
    """By name; of those whose name contains the text, if one is given."""
    statement = select(streams).where(streams.c.account_id == account_id).order_by(streams.c.name.collate("C"))
    if name is not None:
        statement = statement.where(streams.c.name.icontains(name, autoescape=True))
    rows: Result[Any] = await connection.execute(statement.limit(page.limit).offset(page.skip))
    return rows.mappings().all()


async def delete_stream(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> int:
    own = and_(streams.c.account_id == account_id, streams.c.id == stream_id)
    return (await connection.execute(delete(streams).where(own))).rowcount


async def replace_version(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, version: NewVersion, now: datetime
) -> None:
    """The newest version: an autosaved one takes the place of the one before. Raises ConflictError for a taken tag."""
    c = stream_versions.c
    autosaved = and_(c.account_id == account_id, c.stream_id == stream_id, c.tag.is_(None))
    await connection.execute(delete(stream_versions).where(autosaved))
    tagged = select(func.count()).where(c.account_id == account_id, c.stream_id == stream_id, c.tag.is_not(None))
    if version.tag is not None and (await connection.execute(tagged)).scalar_one() >= MAX_TAGGED_VERSIONS:
        raise ConflictError(f"the stream has {MAX_TAGGED_VERSIONS} tagged versions, which is the most it may have")
    await insert_version(connection, account_id, stream_id, version, now)
    own = and_(streams.c.account_id == account_id, streams.c.id == stream_id)
    await connection.execute(update(streams).where(own).values(updated_at=now))


async def mark_deployed(connection: AsyncConnection, account_id: UUID, stream_id: UUID, tag: str | None) -> None:
    """The version with this tag, or the latest, and no other."""
    await mark_undeployed(connection, account_id, stream_id)
    c = stream_versions.c
    own = and_(c.account_id == account_id, c.stream_id == stream_id)
    chosen = select(c.id).where(own).order_by(c.version_no.desc()).limit(1)
    if tag is not None:
        chosen = chosen.where(c.tag == tag)
    await connection.execute(update(stream_versions).where(own, c.id == chosen.scalar_subquery()).values(deployed=True))


async def mark_undeployed(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> None:
    c = stream_versions.c
    deployed = and_(c.account_id == account_id, c.stream_id == stream_id, c.deployed)
    await connection.execute(update(stream_versions).where(deployed).values(deployed=False))


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
