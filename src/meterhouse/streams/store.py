"""Streams and their versions: SQL. Every function takes the tenant and uses it in its WHERE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Result,
    RowMapping,
    ScalarSelect,
    and_,
    cast,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.errors import ConflictError
from meterhouse.paging import Page
from meterhouse.streams.function import REAL_TIME
from meterhouse.tables import stream_nodes, stream_versions, streams

MAX_TAGGED_VERSIONS = 100

_v, _n = stream_versions.c, stream_nodes.c


_shown = (_v.id, _v.tag, _v.description, _v.created_at, _v.updated_at, _v.created_by, _v.deployed, _v.scheduled)


def _of_stream(account_id: UUID, stream_id: UUID) -> ColumnElement[bool]:
    return and_(_v.account_id == account_id, _v.stream_id == stream_id)


def _newest(account_id: UUID, stream_id: UUID) -> ScalarSelect[Any]:
    v = stream_versions.alias().c
    return select(func.max(v.version_no)).where(v.account_id == account_id, v.stream_id == stream_id).scalar_subquery()


def _each_node() -> Any:
    """A column of JSON: a row for each function in the document of each version."""
    nodes = func.jsonb_array_elements(cast(_v.document, JSONB)["nodes"], type_=JSONB)
    return nodes.column_valued("node", joins_implicitly=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Streams for which all that is given holds: a part of the name, a collector that they read, a Meter processor's
    key, an aggregation store.
    """

    name: str | None = None
    collector_id: UUID | None = None
    meter_key: str | None = None
    store_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        wanted: list[ColumnElement[bool]] = []
        if self.name is not None:
            wanted.append(streams.c.name.icontains(self.name, autoescape=True))
        if self.collector_id is not None:
            wanted.append(_reads(self.collector_id))
        for column, value in ((_n.meter_key, self.meter_key), (_n.store_id, self.store_id)):
            if value is not None:
                same = and_(_n.account_id == streams.c.account_id, _n.stream_id == streams.c.id)
                wanted.append(exists().where(same, column == value))
        return wanted


def _reads(collector_id: UUID) -> ColumnElement[bool]:
    """As the stream is edited, or as it is deployed."""
    newer = stream_versions.alias().c
    same_stream = and_(newer.account_id == _v.account_id, newer.stream_id == _v.stream_id)
    latest = ~exists().where(same_stream, newer.version_no > _v.version_no)
    node = _each_node()
    reads_it = func.lower(node["params"]["collectorId"].astext) == str(collector_id)
    reader = and_(node["type"].astext == REAL_TIME, reads_it)
    return exists().where(
        _v.account_id == streams.c.account_id, _v.stream_id == streams.c.id, or_(_v.deployed, latest), reader
    )


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
    return (
        await connection.execute(select(streams.c.id).where(own).with_for_update(key_share=True))
    ).scalar_one_or_none()


async def find_stream(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, *, lock: bool = False
) -> RowMapping | None:
    """`lock`: until the transaction ends its versions are not changed by others, and it is not deployed.

    Steps of its runs, which refer to it, go on meanwhile.
    """
    statement = select(streams).where(streams.c.account_id == account_id, streams.c.id == stream_id)
    found: Result[Any] = await connection.execute(statement.with_for_update(key_share=True) if lock else statement)
    return found.mappings().first()


async def ask_to_stop(connection: AsyncConnection, account_id: UUID, stream_id: UUID, now: datetime) -> None:
    """Its runs end with their next steps."""
    own = and_(streams.c.account_id == account_id, streams.c.id == stream_id)
    await connection.execute(update(streams).where(own).values(stop_before=now))


async def list_streams(
    connection: AsyncConnection, account_id: UUID, wanted: Wanted, page: Page
) -> Sequence[RowMapping]:
    """In the order of their names."""
    statement = select(streams).where(streams.c.account_id == account_id, *wanted.conditions())
    ordered = statement.order_by(streams.c.name.collate("C")).limit(page.limit).offset(page.skip)
    rows: Result[Any] = await connection.execute(ordered)
    return rows.mappings().all()


async def delete_stream(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> int:
    own = and_(streams.c.account_id == account_id, streams.c.id == stream_id)
    return (await connection.execute(delete(streams).where(own))).rowcount


async def replace_version(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, version: NewVersion, now: datetime
) -> None:
    """The newest version: an autosaved one takes the place of the one before. Raises ConflictError for a taken tag.

    The stream is locked, or was made in this transaction.
    """
    autosaved = and_(_of_stream(account_id, stream_id), _v.tag.is_(None), ~_v.deployed)
    await connection.execute(delete(stream_versions).where(autosaved))
    if version.tag is not None:
        await _require_room(connection, account_id, stream_id)
    await insert_version(connection, account_id, stream_id, version, now)
    own = and_(streams.c.account_id == account_id, streams.c.id == stream_id)
    await connection.execute(update(streams).where(own).values(updated_at=now))


async def _require_room(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> None:
    tagged = select(func.count()).where(_of_stream(account_id, stream_id), _v.tag.is_not(None))
    if (await connection.execute(tagged)).scalar_one() >= MAX_TAGGED_VERSIONS:
        raise ConflictError(f"the stream has {MAX_TAGGED_VERSIONS} tagged versions, which is the most it may have")


async def tag_version(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, names: Mapping[str, str], now: datetime
) -> RowMapping:
    """The autosaved version becomes a tagged one. `names`: its tag and perhaps its description. Of a locked stream.

    Raises ConflictError where no version is autosaved, for a tag that is taken and for one tag too many.
    """
    await _require_room(connection, account_id, stream_id)
    newest = _newest(account_id, stream_id)
    autosaved = and_(_of_stream(account_id, stream_id), _v.version_no == newest, _v.tag.is_(None))
    statement = update(stream_versions).where(autosaved).values(dict(names) | {"updated_at": now})
    try:
        tagged: Result[Any] = await connection.execute(statement.returning(*_shown, false().label("autosaved")))
    except IntegrityError as error:  # the tag is the only key among what changes
        raise ConflictError("the stream has a version with this tag") from error
    row = tagged.mappings().first()
    if row is None:
        raise ConflictError("the stream has no autosaved version: its latest one is tagged")
    return row


async def delete_version(connection: AsyncConnection, account_id: UUID, stream_id: UUID, version_id: UUID) -> int:
    """Unless it is deployed or the only one. Of a locked stream."""
    others = select(func.count()).where(_of_stream(account_id, stream_id)).scalar_subquery()
    idle = and_(_of_stream(account_id, stream_id), _v.id == version_id, ~_v.deployed, others > 1)
    return (await connection.execute(delete(stream_versions).where(idle))).rowcount


async def version_exists(connection: AsyncConnection, account_id: UUID, stream_id: UUID, version_id: UUID) -> bool:
    own = exists().where(_of_stream(account_id, stream_id), _v.id == version_id)
    return bool((await connection.execute(select(own))).scalar_one())


async def present_nodes(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> Mapping[str, str]:
    """Id → type of the functions of the stream as it is edited and as it is deployed."""
    node = _each_node()
    statement = select(node["id"].astext, node["type"].astext).select_from(stream_versions)
    present = or_(_v.deployed, _v.version_no == _newest(account_id, stream_id))
    rows = await connection.execute(statement.where(_of_stream(account_id, stream_id), present))
    return {row[0]: row[1] for row in rows}


async def mark_deployed(connection: AsyncConnection, account_id: UUID, stream_id: UUID, tag: str | None) -> None:
    """The version with this tag, or the latest, and no other."""
    await mark_undeployed(connection, account_id, stream_id)
    own = _of_stream(account_id, stream_id)
    chosen = select(_v.id).where(own).order_by(_v.version_no.desc()).limit(1)
    if tag is not None:
        chosen = chosen.where(_v.tag == tag)
    await connection.execute(
        update(stream_versions).where(own, _v.id == chosen.scalar_subquery()).values(deployed=True)
    )


async def mark_undeployed(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> None:
    """An autosaved version that was kept only because it was deployed goes."""
    deployed = and_(_of_stream(account_id, stream_id), _v.deployed)
    superseded = and_(deployed, _v.tag.is_(None), _v.version_no < _newest(account_id, stream_id))
    await connection.execute(delete(stream_versions).where(superseded))
    await connection.execute(update(stream_versions).where(deployed).values(deployed=False))


async def stream_exists(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> bool:
    own = exists().where(streams.c.account_id == account_id, streams.c.id == stream_id)
    return bool((await connection.execute(select(own))).scalar_one())


async def find_version(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, tag: str | None
) -> RowMapping | None:
    """The version with this tag, or the latest, with the stream's present name."""
    same = and_(streams.c.account_id == _v.account_id, streams.c.id == _v.stream_id)
    statement = (
        select(streams.c.name, _v.tag, _v.description, _v.document)
        .join(streams, same)
        .where(_of_stream(account_id, stream_id))
        .order_by(_v.version_no.desc())
        .limit(1)
    )
    if tag is not None:
        statement = statement.where(_v.tag == tag)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def find_deployed_version(connection: AsyncConnection, account_id: UUID, stream_id: UUID) -> RowMapping | None:
    statement = select(_v.document).where(_of_stream(account_id, stream_id), _v.deployed)
    found: Result[Any] = await connection.execute(statement)
    return found.mappings().first()


async def list_versions(
    connection: AsyncConnection, account_id: UUID, stream_id: UUID, page: Page
) -> Sequence[RowMapping]:
    """Newest first, without their documents. Autosaved: the newest, if it has no tag."""
    autosaved = and_(_v.tag.is_(None), _v.version_no == func.max(_v.version_no).over())
    statement = select(*_shown, autosaved.label("autosaved")).where(_of_stream(account_id, stream_id))
    rows: Result[Any] = await connection.execute(
        statement.order_by(_v.version_no.desc()).limit(page.limit).offset(page.skip)
    )
    return rows.mappings().all()
