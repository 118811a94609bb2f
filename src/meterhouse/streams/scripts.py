"""Scripts of users, run over slices of records in a process that can do no harm (see sandbox/child.py).

The worker opens a sandbox around its loop; functions call `run`. The process is started by the first script, used by
one slice at a time, and replaced after anything but success. What comes back is checked before it is believed.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from meterhouse import clock
from meterhouse.rules.instants import format_milliseconds
from meterhouse.streams.function import Node, Record, Step, StreamError
from meterhouse.streams.nodes import outputs
from meterhouse.streams.persist_store import SHARED, delete_values, read_values, scope_of, write_values
from meterhouse.streams.sandbox.exact import Exact, exact_numbers, merge, restore
from meterhouse.streams.sandbox.process import BROKEN, Failure, Key, Limits, Sandbox, Scope, ScriptFailedError
from meterhouse.streams.session_store import Session

# A part of a slice is what one engine gets at once: together with all copies it must fit its heap.
MAX_PART_BYTES = 4 * 1024 * 1024
# Of the script's own text: the two lines that the engine puts before it.
_LINES_BEFORE = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_sandbox: ContextVar[Sandbox] = ContextVar("sandbox")


@asynccontextmanager
async def open_sandbox(limits: Limits = Limits()) -> AsyncIterator[None]:  # noqa: B008 frozen
    """Inside, scripts can run: in this task and in those that it starts. At the end their process is ended."""
    sandbox = Sandbox(limits)
    token = _sandbox.set(sandbox)
    try:
        yield
    finally:
        _sandbox.reset(token)
        await sandbox.close()


@dataclass(frozen=True, slots=True)
class Script:
    """A script of a node, and what it may name."""

    node: Node
    source: str
    outputs: dict[str, str]
    """Name or id → id, of those that lead somewhere."""


def read_script(node: Node, param: str) -> Script:
    """Raises StreamError where the node has no such script."""
    source = node.params.get(param)
    if not isinstance(source, str):
        raise StreamError(f"{node.name}: {param} must be the text of a script")
    named = outputs(node.params)
    return Script(node, source, named | {output: output for output in named.values()})


@dataclass(slots=True)
class Row:
    """A record on its way into a script, with the session it belongs to."""

    record: Record
    session: Session | None = None


@dataclass(slots=True)
class _Part:
    """What one engine gets at once."""

    rows: list[Row] = field(default_factory=list)
    exact: list[Exact] = field(default_factory=list)
    """By row: the numbers that a double cannot hold."""
    records: list[tuple[msgspec.Raw, dict[str, Any], int | None]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    session_texts: list[msgspec.Raw] = field(default_factory=list)
    session_exact: list[list[Exact]] = field(default_factory=list)
    """By session: of its data and of all its records, for what it holds may come from any of them."""
    size: int = 0


class _SessionLeft(msgspec.Struct, rename="camel"):
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    timeout_at: Annotated[int, msgspec.Meta(ge=0, lt=253_370_764_800_000)] | None = None
    restarted: bool = False
    removed: bool = False


class _Kept(msgspec.Struct):
    value: Any


class _Done(msgspec.Struct):
    """What a script leaves behind. Whatever it did to its world, it passes this form or is refused."""

    pushed: list[tuple[int, str | None, dict[str, Any], dict[str, Any] | None]]
    audit: list[tuple[Literal["count", "sum", "set"], str, Any]]
    log: list[tuple[Literal["info", "warning", "error"], str]]
    node: dict[str, Any]
    stream: dict[str, Any]
    persist: list[tuple[Scope, Key, _Kept | None]]
    sessions: list[_SessionLeft]


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode_done = msgspec.json.Decoder(_Done, float_hook=Decimal).decode


async def run(script: Script, rows: Iterable[Row], step: Step, *, timeouts: bool = False) -> None:
    """The script once for each row, in order. What it leaves behind is in the step, the sessions and the database.

    With `timeouts` the rows are sessions whose time is up. Raises StreamError with the function, the line and the
    message where the script fails. Records with a number that no script can read go to Data correction.
    """
    for part in _parts(rows, step):
        done = await _run_part(script, part, step, timeouts=timeouts)
        exact = [merge(parts) for parts in part.session_exact]
        _take_sessions(done, part, step, exact)
        _take_records(script, done, part, step, exact)
        step.audit += done.audit
        step.log += done.log
        # In place: other functions of the stream hold the same object.
        for state, left in ((step.state, done.node), (step.stream_state, done.stream)):
            state.clear()
            state.update(left)
        await _keep(script, done, step)


async def run_alone(source: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """A script of our own on one record, which it turns into another. Raises ScriptFailedError."""
    sandbox = _sandbox.get()
    job = {"source": source, "records": [(payload, {}, None)], "sessions": [], "timeouts": False}
    job |= {"node": {}, "stream": {}, "now": 0, "instant": "", "limits": sandbox.limits}

    async def answer(_: Sequence[tuple[Scope, str]]) -> bytes:
        raise ScriptFailedError(Failure(BROKEN))

    try:
        done = _decode_done(await sandbox.run(_encode(job), answer, locate=False))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ScriptFailedError(Failure(BROKEN)) from None
    return done.pushed[0][2] if done.pushed else {}


def _parts(rows: Iterable[Row], step: Step) -> Iterator[_Part]:
    """The rows in parts, each read when its turn has come: a part may change the sessions of the next."""
    part, places = _Part(), dict[int, int]()
    for row in rows:
        payload = _encode(row.record.payload)
        try:
            exact = exact_numbers(payload, row.record.payload)
        except ValueError as error:
            step.reject(row.record, str(error))
            continue
        if part.size + len(payload) > MAX_PART_BYTES and part.rows:
            yield part
            part, places = _Part(), {}
        place = None
        if row.session is not None:
            place = places.setdefault(id(row.session), len(part.sessions))
            if place == len(part.sessions):
                _add_session(part, row.session)
            part.session_exact[place].append(exact)
        part.rows.append(row)
        part.exact.append(exact)
        part.records.append((msgspec.Raw(payload), row.record.meta, place))
        part.size += len(payload)
    if part.rows:
        yield part


def _add_session(part: _Part, session: Session) -> None:
    timeout_at = None if session.timeout_at is None else _milliseconds(session.timeout_at)
    text = _encode({"key": session.key, "data": session.data, "meta": session.meta, "timeoutAt": timeout_at})
    part.sessions.append(session)
    part.session_texts.append(msgspec.Raw(text))
    part.session_exact.append([exact_numbers(text, session.data)])
    part.size += len(text)


async def _run_part(script: Script, part: _Part, step: Step, *, timeouts: bool) -> _Done:
    sandbox = _sandbox.get()
    job = {
        "source": script.source,
        "records": part.records,
        "sessions": part.session_texts,
        "timeouts": timeouts,
        "node": step.state,
        "stream": step.stream_state,
        "now": _milliseconds(step.now),
        "ahead": clock.ahead() // timedelta(milliseconds=1),
        "instant": format_milliseconds(step.now),
        "limits": sandbox.limits,
    }

    async def answer(wants: Sequence[tuple[Scope, str]]) -> bytes:
        return await _answer(script, wants, step)

    name = script.node.name
    try:
        done = _decode_done(await sandbox.run(_encode(job), answer))
        _check(done, part)
    except ScriptFailedError as error:
        failure = error.failure
        raise StreamError(f"{name}:{_line(failure.line, script.source)} {failure.message}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise StreamError(f"{name}: {BROKEN}") from None
    return done


def _line(counted: int | None, source: str) -> str:
    """A missing end is noticed after the end: there the last line is meant."""
    return "" if counted is None else f" line {min(max(counted - _LINES_BEFORE, 1), source.count(chr(10)) + 1)}:"


def _check(done: _Done, part: _Part) -> None:
    """What the form alone does not say. ValueError where it does not hold."""
    if len(done.sessions) != len(part.sessions):
        raise ValueError("sessions are missing")
    if not all(0 <= place < len(part.rows) for place, _, _, _ in done.pushed):
        raise ValueError("a record comes from nowhere")
    if any(isinstance(value, bool) or not isinstance(value, (int, Decimal)) for _, _, value in done.audit):
        raise ValueError("audit counters are numbers")


async def _answer(script: Script, wants: Sequence[tuple[Scope, str]], step: Step) -> bytes:
    found: dict[Scope, Mapping[str, Any]] = {}
    for scope in sorted({scope for scope, _ in wants}):
        keys = [key for asked, key in wants if asked == scope]
        found[scope] = await read_values(step.connection, step.account_id, _scope(scope, script, step), keys)
    return _encode([{"value": found[scope][key]} if key in found[scope] else None for scope, key in wants])


async def _keep(script: Script, done: _Done, step: Step) -> None:
    for scope in sorted({scope for scope, _, _ in done.persist}):
        changes = {key: kept for changed, key, kept in done.persist if changed == scope}
        gone = [key for key, kept in changes.items() if kept is None]
        values = {key: kept.value for key, kept in changes.items() if kept is not None}
        named = _scope(scope, script, step)
        if gone:
            await delete_values(step.connection, step.account_id, named, gone)
        if values:
            await write_values(step.connection, step.account_id, named, values)


def _scope(scope: Scope, script: Script, step: Step) -> str:
    return SHARED if scope == "shared" else scope_of(step.stream_id, script.node.id)


def _take_records(script: Script, done: _Done, part: _Part, step: Step, sessions: Sequence[Exact]) -> None:
    for place, output, payload, meta in done.pushed:
        if output is not None and output not in script.outputs:
            step.dropped += 1
            continue
        exact = part.exact[place]
        session = part.records[place][2]
        if session is not None and meta is not None:  # what is sent is the session and not the record
            exact = sessions[session]
        step.emit(
            Record(
                restore(payload, exact) if exact else payload,
                dict(part.rows[place].record.meta) if meta is None else meta,
            ),
            None if output is None else script.outputs[output],
        )


def _take_sessions(done: _Done, part: _Part, step: Step, exacts: Sequence[Exact]) -> None:
    for session, left, exact in zip(part.sessions, done.sessions, exacts, strict=True):
        session.is_removed = left.removed
        if left.removed or left.restarted:
            session.created_at = step.now
        session.data = restore(left.data, exact) if exact else left.data
        session.meta = left.meta
        session.timeout_at = None if left.timeout_at is None else _EPOCH + timedelta(milliseconds=left.timeout_at)


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
