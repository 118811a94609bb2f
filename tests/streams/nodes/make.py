"""A function under test, its step, and the real documents that the functions must run."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

from meterhouse.rules.numbers import parse_decimal
from meterhouse.streams.function import Node, Record, Step
from meterhouse.streams.nodes import make_function

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ACCOUNT_ID = UUID(int=1)
STREAM_ID = UUID(int=2)
RUN_ID = UUID(int=3)


def make_node(kind: str, **params) -> Node:
    return Node("node-1", kind, "The node", params)


def make_step(connection=None, *, now=NOW, state=None, stream_id=STREAM_ID) -> Step:
    return Step(now, ACCOUNT_ID, stream_id, RUN_ID, connection, {} if state is None else state)


def handle(node: Node, payloads, step: Step | None = None) -> Step:
    """One slice through a new function."""
    step = make_step() if step is None else step
    asyncio.run(make_function(node).handle([Record(payload, {"n": n}) for n, payload in enumerate(payloads)], step))
    return step


def flush(node: Node, step: Step, *, final: bool) -> Step:
    asyncio.run(make_function(node).flush(step, final=final))
    return step


def sent(step: Step, output: str | None = None) -> list[dict]:
    return [record.payload for record in step.emitted.get(output, [])]


def reasons(step: Step) -> list[str]:
    return [reason for _, reason in step.rejected]


def exact(text: str):
    """JSON as the server reads it: no floats."""
    return json.loads(text, parse_float=parse_decimal)


def kept(state: dict) -> dict:
    """What a step's state is after the database has had it: members in an order of its own."""
    return json.loads(json.dumps(state, sort_keys=True))
