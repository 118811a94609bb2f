"""Events out, each with what kept meters and customers from it (reference: metering 2.3, 3.1)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.buckets import store
from meterhouse.buckets.query import compare_text
from meterhouse.buckets.scope import Scope
from meterhouse.errors import bad_field
from meterhouse.rules.filters import Condition, FilterError, OneOf, parse_filter
from meterhouse.rules.instants import parse_instant
from meterhouse.rules.metering import value_problem
from meterhouse.tables import customer_subjects
from meterhouse.wire import decode_json, rfc3339

MAX_PAGE = 100
OLDEST = timedelta(days=32)
MAX_FILTER_CHARACTERS = 32_768

Where = Callable[[Any], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Cursor:
    time: datetime
    seq: int

    def text(self) -> str:
        return base64.urlsafe_b64encode(f"{self.time.isoformat()},{self.seq}".encode()).decode()


def read_cursor(text: str) -> Cursor:
    try:
        time, _, seq = base64.urlsafe_b64decode(text.encode()).decode().partition(",")
        return Cursor(parse_instant(time), int(seq))
    except (ValueError, binascii.Error):
        raise bad_field("cursor", "is not a cursor of this listing") from None


def after(cursor: Cursor) -> Where:
    """The rows that come after the cursor in the order (time, arrival), both descending."""
    return lambda c: or_(c.time < cursor.time, and_(c.time == cursor.time, c.seq < cursor.seq))


def of_customers(scope: Scope, customer_ids: Sequence[str]) -> Where:
    owner = customer_subjects.c
    owned = select(owner.subject).where(
        owner.account_id == scope.account_id, owner.bucket_no == scope.bucket_no, owner.customer_id.in_(customer_ids)
    )
    return lambda c: c.subject.in_(owned)


def every(conditions: Sequence[Where]) -> Where:
    return lambda c: and_(true(), *(condition(c) for condition in conditions))


def read_event_filter(text: str, scope: Scope) -> list[Where]:
    """The v2 listing's `filter`: {id, source, subject, type: FilterString, customerId: {$in}, time, ingestedAt}."""
    if len(text) > MAX_FILTER_CHARACTERS:
        raise bad_field("filter", f"has more than {MAX_FILTER_CHARACTERS} characters")
    value = decode_json(text.encode(errors="surrogatepass"))
    if not isinstance(value, dict):
        raise bad_field("filter", "must be a JSON object")
    return [_event_filter(name, condition, scope) for name, condition in value.items()]


def _event_filter(name: str, value: Any, scope: Scope) -> Where:
    path = f"filter.{name}"
    if name in ("id", "source", "subject", "type"):
        condition = _condition(value, path)
        return lambda c: compare_text(condition, c[name])
    if name == "customerId":
        return of_customers(scope, _customer_ids(value, path))
    if name in ("time", "ingestedAt"):
        column = "time" if name == "time" else "ingested_at"
        compare = _time_filter(value, path, depth=0)
        return lambda c: compare(c[column])
    raise bad_field(path, "unknown member: use id, source, subject, type, customerId, time or ingestedAt")


def _condition(value: Any, path: str) -> Condition:
    try:
        return parse_filter(value, path)
    except FilterError as error:
        field, _, message = str(error).partition(": ")
        raise bad_field(field, message) from None


def _customer_ids(value: Any, path: str) -> tuple[str, ...]:
    condition = _condition(value, path)
    if not isinstance(condition, OneOf) or condition.negated:
        raise bad_field(path, 'must be {"$in": [customer ids]}')
    return condition.values


_Compare = Callable[[Any], ColumnElement[bool]]
_TIME_OPERATORS: dict[str, Callable[[Any, datetime], ColumnElement[bool]]] = {
    "$gt": lambda column, instant: column > instant,
    "$gte": lambda column, instant: column >= instant,
    "$lt": lambda column, instant: column < instant,
    "$lte": lambda column, instant: column <= instant,
}


def _time_filter(value: Any, path: str, depth: int) -> _Compare:
    if not isinstance(value, dict) or depth > 1:
        raise bad_field(path, 'must be an object such as {"$gte": "2026-01-01T00:00:00Z"}')
    parts = [_time_part(name, operand, f"{path}.{name}", depth) for name, operand in value.items()]
    return lambda column: and_(true(), *(part(column) for part in parts))


def _time_part(name: str, operand: Any, path: str, depth: int) -> _Compare:
    if name in ("$and", "$or") and isinstance(operand, list):
        parts = [_time_filter(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(operand)]
        if not parts:
            return lambda _: true()
        join = and_ if name == "$and" else or_
        return lambda column: join(*(part(column) for part in parts))
    if name not in _TIME_OPERATORS:
        raise bad_field(path, "unknown operator: use $gt, $gte, $lt, $lte, $and or $or")
    try:
        instant = parse_instant(operand if isinstance(operand, str) else "")
    except ValueError as error:
        raise bad_field(path, str(error)) from None
    return lambda column: _TIME_OPERATORS[name](column, instant)


async def describe(connection: AsyncConnection, scope: Scope, rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
    """OpenMeter's IngestedEvents."""
    if not rows:
        return []
    meters: dict[str, list[RowMapping]] = {}
    for meter in await store.meters_of_types(connection, scope, {row["type"] for row in rows}):
        meters.setdefault(meter["event_type"], []).append(meter)
    owners = await store.customers_of_subjects(connection, scope, {row["subject"] for row in rows})
    return [_ingested(row, meters.get(row["type"], []), owners.get(row["subject"])) for row in rows]


def _ingested(row: RowMapping, meters: Sequence[RowMapping], customer_id: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"event": _event(row), "ingestedAt": rfc3339(row["ingested_at"])}
    body["storedAt"] = body["ingestedAt"]
    if customer_id is not None:
        body["customerId"] = customer_id
    problems = _problems(row, meters, customer_id)
    if problems:
        body["validationError"] = "\n".join(problems)
    return body


def _event(row: RowMapping) -> dict[str, Any]:
    event = {
        "id": row["id"],
        "source": row["source"],
        "specversion": "1.0",
        "type": row["type"],
        "subject": row["subject"],
    }
    event["time"] = rfc3339(row["time"])
    if row["data"] is not None:
        event["data"] = row["data"]
    return event | (row["attributes"] or {})


def _problems(row: RowMapping, meters: Sequence[RowMapping], customer_id: str | None) -> list[str]:
    problems = []
    if not row["counted"]:
        problems.append(
            "conflict: an event with the same source and id but other content came first; this one is not counted"
        )
    if not meters:
        problems.append(f"no meter found for event type: {row['type']}")
    for meter in meters:
        problem = value_problem(meter["aggregation"], meter["value_property"], row["data"])
        if problem is not None and problem not in problems:
            problems.append(problem)
    if customer_id is None:
        problems.append(f"no customer found for event subject: {row['subject']}")
    return problems
