"""The small interface behind which every function of a stream stands. Adding a function is adding a file to `nodes/`.

A run step hands a slice of records to each function in turn, from readers to writers, inside one transaction.
Everything a function keeps (its state, what it rejects, what it counts) commits with the step, so a repeated step
repeats it exactly.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol
from uuid import UUID

from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse import clock
from meterhouse.outbound import Answer, Outbound
from meterhouse.rules.closing import Missed, Sent
from meterhouse.streams.expiring import Expiring

MAX_TOKENS = 10_000
MAX_ANSWERS_BYTES = 32 * 1024 * 1024

REAL_TIME = "readers/online_collection"
"""A stream with a function of this type runs as long as it is deployed."""

METER = "transforms/meter"
AGGREGATE = "transforms/script_aggregate"
"""These two types have names outside of the stream: a meter key, an aggregation store."""

INGESTION = "ingestionId"
"""In a record's meta: which call of a collector's `send` brought it."""


@dataclass(slots=True)
class Record:
    """What walks through a stream. `payload` is a JSON object with exact numbers (int, Decimal); `meta` is ours."""

    payload: dict[str, Any]
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """One function of a stream's document."""

    id: str
    type: str
    name: str
    params: dict[str, Any]
    schema_version: int = 1


class StreamError(Exception):
    """Aborts the run: a broken document, or a script that failed. The message names what a person must change."""


class TryAgainError(Exception):
    """The step cannot be done now, for no fault of anybody: it is done again in a while."""


ReadClock = Callable[[AsyncConnection], Awaitable[datetime]]


async def read_own_clock(_: AsyncConnection) -> datetime:
    """Outside of sandboxes nobody moves it."""
    return clock.now()


@dataclass(frozen=True, slots=True)
class Services:
    """What functions use beside the database. The worker makes them once; what they keep is lost with it."""

    http: Outbound
    fernet: Fernet
    """Encrypts the secrets of accounts."""
    missed: Missed = "each"
    """What becomes of periods that ended while nobody closed them."""
    flush_every: timedelta = timedelta(seconds=60)
    """How often what is due by time is looked at in a real-time stream."""
    read_clock: ReadClock = read_own_clock
    """The present instant for all that the connection sees."""
    tokens: Expiring[str] = field(default_factory=lambda: Expiring(MAX_TOKENS))
    answers: Expiring[Answer] = field(default_factory=lambda: Expiring(MAX_ANSWERS_BYTES))


@dataclass(slots=True)
class Step:
    """What one function may use and leaves behind while it handles one slice of records.

    `state` and `stream_state` are JSON objects that live as long as the run (for a real-time stream, as long as it is
    deployed); the first is the function's own, the second is shared by all functions of the stream.
    """

    now: datetime
    account_id: UUID
    stream_id: UUID
    run_id: UUID
    connection: AsyncConnection
    state: dict[str, Any] = field(default_factory=dict)
    stream_state: dict[str, Any] = field(default_factory=dict)
    emitted: dict[str | None, list[Record]] = field(default_factory=dict)
    """By output id; None is the default output."""
    rejected: list[tuple[Record, str]] = field(default_factory=list)
    """With the reason: they go to Data correction."""
    dropped: int = 0
    """Records that ended here without being rejected, such as duplicates nobody wants."""
    audit: list[tuple[str, str, Any]] = field(default_factory=list)
    """(count | sum | set, key, value)"""
    log: list[tuple[str, str]] = field(default_factory=list)
    """(info | warning | error, text)"""
    sent: list[Sent] = field(default_factory=list)
    """What meters sent, for their outbox."""
    services: Services | None = None
    """A worker brings them; a function that needs none can do without."""

    def emit(self, record: Record, output: str | None = None) -> None:
        self.emitted.setdefault(output, []).append(record)

    def reject(self, record: Record, reason: str) -> None:
        self.rejected.append((record, reason))


class Function(Protocol):
    """One node of a running stream, made anew for each step: what must last is in the step's state or the database."""

    type: ClassVar[str]
    """As in the document: transforms/map."""

    def __init__(self, node: Node) -> None:
        """Reads the params. Raises StreamError where they are broken."""

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        """Emits, rejects or drops every record."""

    async def flush(self, step: Step, *, final: bool) -> None:
        """What is due by time. `final`: the end of a batch run, when everything that waits for it is sent."""
