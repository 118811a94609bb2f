"""One step of a run: a slice of records from the readers to the writers, in one transaction, all or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Protocol, cast

from sqlalchemy import RowMapping
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meterhouse import clock
from meterhouse.metered_records.store import add_records
from meterhouse.rules.closing import Sent
from meterhouse.rules.records import TooLongTextError
from meterhouse.streams import correction_store, run_store
from meterhouse.streams.function import Function, Node, Record, Services, Step, StreamError, TryAgainError
from meterhouse.streams.graph import Graph, read_graph
from meterhouse.streams.nodes import REACHED, make_function, only_outputs
from meterhouse.streams.nodes.http import HttpRequest
from meterhouse.wire import decode_json

SLICE = 1_000
"""Records that one step takes from a reader at most; fewer where steps take long: each is one transaction."""

SLOW = timedelta(seconds=5)
FIRST_SLICE_WITH_CALLS = 100
"""Where other servers are asked about each record, nobody knows how long a step takes."""

IDLE = timedelta(milliseconds=300)
"""How soon a real-time stream looks again when nothing had arrived."""

POSTPONED = timedelta(seconds=5)
"""How long a run rests after a step that failed for another reason than the stream."""

MAX_FAILURES = 5
"""In a row; then the run has failed."""


class Reader(Protocol):
    async def read(self, step: Step, limit: int) -> bool:
        """Emits up to `limit` records; False at the end of what there is."""


@dataclass(slots=True)
class Progress:
    """What a run keeps between its steps, and what one step adds to it.

    `nodes`: counts by node. `state`: of each function, of the stream, how many records were rejected in a row, and how
    many a slice has.
    """

    nodes: dict[str, dict[str, int]]
    state: dict[str, Any]
    audit: dict[str, Any]
    log: list[tuple[str, str, str]] = field(default_factory=list)
    outputs: list[tuple[str, Any]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def count(self, node_id: str, name: str, amount: int) -> None:
        self.nodes.setdefault(node_id, {"in": 0, "out": 0, "rejected": 0})[name] += amount

    def add_up(self, audit: Sequence[tuple[str, str, Any]]) -> None:
        for operation, key, value in audit:
            self.audit[key] = value if operation == "set" else self.audit.get(key, 0) + value


async def run_due_step(engine: AsyncEngine, services: Services) -> bool:
    """One step of one run that is due and that nobody else is stepping; False when there is none.

    The run's row stays locked to the end of the step: that is what keeps a second worker off the stream. A step that
    dies leaves nothing, and is done again.
    """
    run: RowMapping | None = None
    try:
        async with engine.begin() as connection:
            run = await run_store.claim(connection, clock.now())
            if run is None:
                return False
            await _step(connection, run, services, clock.now())
    except StreamError as error:
        assert run is not None, "only a claimed run raises it"
        async with engine.begin() as connection:
            await run_store.abort(connection, run["account_id"], run["id"], str(error), clock.now())
    except Exception as error:
        # Perhaps it passes; meanwhile the other runs get their turn.
        if run is not None:
            await _postpone(engine, run, error)
        raise
    return True


async def _postpone(engine: AsyncEngine, run: RowMapping, error: Exception) -> None:
    """A database that is away or busy is waited for. What fails for any other reason fails too often in the end."""
    passes = isinstance(error, (TryAgainError, OperationalError, InterfaceError, PoolTimeoutError))
    failures = run["failures"] + (0 if passes else 1)
    now = clock.now()
    values: dict[str, Any] = {"next_step_at": now + POSTPONED, "failures": failures}
    if failures >= MAX_FAILURES:
        reason = f"a step failed {failures} times, which the worker's log explains: {type(error).__name__}"
        values |= {"status": "failed", "ended_at": now, "error": reason}
    async with engine.begin() as connection:
        await run_store.keep_progress(connection, run["account_id"], run["id"], values)


async def _step(connection: AsyncConnection, run: RowMapping, services: Services, now: datetime) -> None:
    if run["stop_before"] is not None and run["started_at"] <= run["stop_before"]:
        ended = {"status": "completed", "ended_at": now}
        await run_store.keep_progress(connection, run["account_id"], run["id"], ended)
        return
    named = await run_store.named_nodes(connection, run["account_id"], run["stream_id"])
    keys = {row["node_id"]: row["meter_key"] for row in named if row["meter_key"]}
    graph = read_graph(decode_json(run["document"].encode()), keys)
    progress = Progress(run["nodes"], run["state"], run["audit"])
    walk = Walk(connection, run, graph, progress, services, now)
    began, size = monotonic(), _slice_size(graph, progress.state)
    more = await walk.read(size)
    more = await walk.take_requeued(size) or more
    # Not before: a record that is read may be of an instant to which somebody has just moved a sandbox's clock.
    walk.now = await services.read_clock(connection)
    await walk.through()
    batch = run["kind"] == "batch"
    flush_due = now >= run["flushed_at"] + services.flush_every
    done = batch and not more
    if done or flush_due:
        await walk.flush(final=done)
    progress.state["slice"] = _next_slice_size(size, timedelta(seconds=monotonic() - began), full=more)
    values: dict[str, Any] = {"nodes": progress.nodes, "state": progress.state, "audit": progress.audit}
    values |= {"failures": 0, "stepped_at": now, "next_step_at": now if more else now + IDLE}
    if flush_due:
        values["flushed_at"] = now
    if done:
        values |= {"status": "completed", "ended_at": clock.now()}
    account_id, run_id = run["account_id"], run["id"]
    await run_store.keep_progress(connection, account_id, run_id, values)
    await run_store.add_outputs(connection, account_id, run_id, progress.outputs, now)
    await run_store.add_log(connection, account_id, run_id, progress.log, now)
    await add_records(connection, account_id, progress.sent, clock.now(), awaits_stream=False)


def _slice_size(graph: Graph, state: Mapping[str, Any]) -> int:
    calls = any(node.type == HttpRequest.type for node in graph.nodes)
    return int(state.get("slice", FIRST_SLICE_WITH_CALLS if calls else SLICE))


def _next_slice_size(size: int, took: timedelta, *, full: bool) -> int:
    if took > SLOW:
        return max(size // 4, 1)
    return min(size * 2, SLICE) if full and took < SLOW / 5 else size


@dataclass(slots=True)
class Walk:
    """The records of one step on their way through the functions."""

    connection: AsyncConnection
    run: RowMapping
    graph: Graph
    progress: Progress
    services: Services
    now: datetime
    functions: dict[str, Function] = field(default_factory=dict)
    waiting: dict[str, list[Record]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            params = only_outputs(node.params, self.graph.wired_outputs(node.id))
            self.functions[node.id] = make_function(Node(node.id, node.type, node.name, params, node.schema_version))

    async def read(self, limit: int) -> bool:
        """A slice from every reader. Whether one of them may have more."""
        more = False
        for node in self.graph.nodes:
            function = self.functions[node.id]
            if getattr(function, "reads", False):
                step = self._new_step(node)
                more = await cast(Reader, function).read(step, limit) or more
                await self._settle(node, step, ())
        return more

    async def take_requeued(self, limit: int) -> bool:
        """Corrected records go in again at the function that rejected them. Whether there may be more."""
        stream = (self.run["account_id"], self.run["stream_id"])
        found = await correction_store.take_requeued(self.connection, stream, list(self.functions), limit)
        for node_id, record in found:
            self.waiting.setdefault(node_id, []).append(record)
        return len(found) == limit

    async def through(self) -> None:
        for node in self.graph.nodes:
            records = self.waiting.pop(node.id, [])
            if records:
                self.progress.count(node.id, "in", len(records))
                step = self._new_step(node)
                try:
                    await self.functions[node.id].handle(records, step)
                except TooLongTextError as error:
                    raise StreamError(f"{node.name}: {error}") from None
                await self._settle(node, step, records)

    async def flush(self, *, final: bool) -> None:
        """From readers to writers, so that what one function sends still passes through those behind it."""
        for node in self.graph.nodes:
            step = self._new_step(node)
            await self.functions[node.id].flush(step, final=final)
            await self._settle(node, step, ())
            await self.through()

    def _new_step(self, node: Node) -> Step:
        state = self.progress.state
        return Step(
            now=self.now,
            account_id=self.run["account_id"],
            stream_id=self.run["stream_id"],
            run_id=self.run["id"],
            connection=self.connection,
            state=state.setdefault("functions", {}).setdefault(node.id, {}),
            stream_state=state.setdefault("stream", {}),
            services=self.services,
        )

    async def _settle(self, node: Node, step: Step, handled: Sequence[Record]) -> None:
        """Hands on what a function emitted, keeps what it rejected, logged and counted.

        Several targets get the same records: no function changes what it gets.
        """
        for output, records in step.emitted.items():
            self.progress.count(node.id, "out", len(records))
            if output == REACHED:
                self.progress.outputs.extend((node.id, record.payload) for record in records)
                continue
            for target in self.graph.targets.get((node.id, output), ()):
                self.waiting.setdefault(target, []).extend(records)
        self.progress.log.extend((node.id, level, text) for level, text in step.log)
        self.progress.add_up(step.audit)
        self.progress.sent += step.sent
        await self._suspend(node, step, handled)

    async def _suspend(self, node: Node, step: Step, handled: Sequence[Record]) -> None:
        """What was rejected goes to Data correction, unless the function says otherwise."""
        rules = node.params.get("suspenseManagement") or {}
        rejected = len(step.rejected)
        self.progress.count(node.id, "rejected", rejected)
        if rejected and not rules.get("enabled", True):
            if rules.get("abortOnDisabled"):
                raise StreamError(f"{node.name}: a record was rejected: {step.rejected[0][1]}")
            return
        await correction_store.add(self.connection, self.run, node, step.rejected, self.now)
        streaks = self.progress.state.setdefault("rejectedInARow", {})
        streak, aborting = _rejected_in_a_row(streaks.get(node.id, 0), step, handled, rules)
        if aborting is not None:
            raise StreamError(f"{node.name}: {streak} records in a row were rejected; the last: {aborting}")
        streaks[node.id] = streak


def _rejected_in_a_row(
    streak: int, step: Step, handled: Sequence[Record], rules: Mapping[str, Any]
) -> tuple[int, str | None]:
    """How many after the last record, and the reason of the one with which it were too many."""
    threshold, resets = rules.get("eventThreshold"), rules.get("resetOnValidEvent", True)
    limit = threshold if isinstance(threshold, int) and threshold > 0 else None
    reasons = {id(record): reason for record, reason in step.rejected}
    for record in handled if reasons else handled[-1:]:
        reason = reasons.get(id(record))
        if reason is not None:
            streak += 1
            if streak == limit:
                return streak, reason
        elif resets:
            streak = 0
    return streak, None
