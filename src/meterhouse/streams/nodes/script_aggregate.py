"""transforms/script_aggregate, Script aggregator: scripts that build up sessions of records which belong together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from meterhouse.rules.records import MISSING, find, text_of
from meterhouse.rules.sessions import session_key, store_id
from meterhouse.streams.function import Node, Record, Step, StreamError
from meterhouse.streams.scripts import Row, read_script, run
from meterhouse.streams.session_store import (
    MAX_KEY_BYTES,
    Session,
    Store,
    delete_sessions,
    lock_due_sessions,
    lock_sessions,
    write_sessions,
)

# Time-outs are handled in rounds; what a flush does not get to, the next one does.
DUE_SESSIONS_AT_ONCE = 500
MAX_ROUNDS = 100


class ScriptAggregator:
    type: ClassVar[str] = "transforms/script_aggregate"

    def __init__(self, node: Node) -> None:
        self._name, self._node_id = node.name, node.id
        self._rules = [_rule(node, rule) for rule in node.params.get("groupByRules") or []]
        if not self._rules:
            raise StreamError(f"{node.name}: groupByRules needs at least one rule")
        self._on_transform = read_script(node, "onTransform")
        self._on_timeout = read_script(node, "onTimeout") if node.params.get("onTimeout") else None

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        keyed: list[tuple[Record, str]] = []
        for record in records:
            key = session_key(self._values(record.payload))
            if len(key.encode()) > MAX_KEY_BYTES:
                step.reject(record, f"the session key has more than {MAX_KEY_BYTES} bytes")
            else:
                keyed.append((record, key))
        if not keyed:
            return
        store = self._store(step)
        sessions = await lock_sessions(step.connection, store, {key for _, key in keyed})
        rows = [Row(record, sessions.setdefault(key, Session(key, step.now))) for record, key in keyed]
        await run(self._on_transform, rows, step)
        await _write(sessions.values(), store, step)

    async def flush(self, step: Step, *, final: bool) -> None:  # noqa: ARG002 time-outs are looked at either way
        """Time-outs. The end of a run sends nothing by itself: sessions outlive it."""
        if self._on_timeout is None:
            return
        store = self._store(step)
        for _ in range(MAX_ROUNDS):
            # A session has one turn: a time-out that its script sets again is after `now`.
            sessions = await lock_due_sessions(step.connection, store, step.now, DUE_SESSIONS_AT_ONCE)
            await run(self._on_timeout, [Row(Record({}), session) for session in sessions], step, timeouts=True)
            await _write(sessions, store, step)
            if len(sessions) < DUE_SESSIONS_AT_ONCE:
                return

    def _store(self, step: Step) -> Store:
        return Store(step.account_id, store_id(step.stream_id, self._node_id))

    def _values(self, payload: Mapping[str, Any]) -> list[str]:
        """Of the first rule whose fields the record all has, as texts; null is not having it."""
        for fields in self._rules:
            values = [find(payload, field) for field in fields]
            if not any(value is MISSING or value is None for value in values):
                return [text_of(value) for value in values]
        raise StreamError(f"{self._name}: no rule of groupByRules fits the record {text_of(payload)[:200]}")


def _rule(node: Node, rule: Any) -> list[str]:
    fields = rule.get("fields") if isinstance(rule, dict) else None
    if not isinstance(fields, list) or not fields or not all(isinstance(field, str) and field for field in fields):
        raise StreamError(f"{node.name}: each rule of groupByRules needs the names of its fields")
    return fields


async def _write(sessions: Iterable[Session], store: Store, step: Step) -> None:
    """A session that was stored under its key and began anew is replaced, one that was flushed is gone."""
    known = list(sessions)
    gone = [session.key for session in known if session.is_removed and session.is_stored]
    if gone:
        await delete_sessions(step.connection, store, gone)
    left = [session for session in known if not session.is_removed]
    if left:
        await write_sessions(step.connection, store, left, step.now)
