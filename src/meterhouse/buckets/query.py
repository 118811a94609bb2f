"""Usage of a meter: the checked question, its one SQL statement, the answer's rows (reference: metering 3.2, 8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Numeric,
    Select,
    Text,
    and_,
    cast,
    distinct,
    extract,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import Grouping

from meterhouse.buckets.jsonpath_sql import Extraction
from meterhouse.buckets.scope import Scope
from meterhouse.errors import BadRequestError
from meterhouse.rules.filters import Compare, Condition, Every, Exists, OneOf, Some
from meterhouse.rules.jsonpath import parse_path
from meterhouse.rules.windows import WindowSize, minute_span, window_of
from meterhouse.tables import customer_subjects, events

ZONE_UTC = ZoneInfo("UTC")
MAX_ROWS = 200_000
_EPOCH = datetime.fromtimestamp(0, ZONE_UTC)


@dataclass(frozen=True, slots=True)
class Meter:
    """What a query needs of a meter."""

    slug: str
    aggregation: str
    event_type: str
    event_from: datetime | None
    value_property: str | None
    group_by: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """A checked query. `to_inclusive` and `zero_row` are where the two mounts differ (reference: metering 8)."""

    start: datetime | None = None
    end: datetime | None = None
    window_size: WindowSize | None = None
    zone: ZoneInfo = ZONE_UTC
    subjects: tuple[str, ...] = ()
    customer_ids: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    filters: Mapping[str, Condition] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()
    by_subject: bool = False
    by_customer: bool = False
    by_subscription: bool = False
    columns: tuple[str, ...] = ()
    """groupBy as asked, reserved keys too: the order of CSV columns."""
    to_inclusive: bool = False
    zero_row: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    value: Decimal
    window_start: datetime
    window_end: datetime
    subject: str | None
    customer_id: str | None
    subscription: str | None
    group_values: tuple[str, ...]


def occurred(  # noqa: PLR0913 - a range, and how two dialects read its ends
    meter: Meter,
    scope: Scope,
    start: datetime | None,
    end: datetime | None,
    *,
    to_inclusive: bool,
    event_from: bool = True,
) -> ColumnElement[bool]:
    """The events of a meter in a range of event time. Only queries keep to the meter's eventFrom."""
    e = events.c
    conditions = [e.account_id == scope.account_id, e.bucket_no == scope.bucket_no, e.type == meter.event_type]
    bounds = [bound for bound in (start, meter.event_from if event_from else None) if bound is not None]
    begins = max(bounds, default=None)
    if begins is not None:
        conditions.append(e.time >= begins)
    if end is not None:
        conditions.append(e.time <= end if to_inclusive else e.time < end)
    return and_(*conditions)


async def run(connection: AsyncConnection, scope: Scope, meter: Meter, question: Question) -> list[Row]:
    """The answer's rows by window start, subject, customer and group values. Too many of them is a BadRequestError."""
    found = (await connection.execute(_statement(scope, meter, question).limit(MAX_ROWS + 1))).all()
    if len(found) > MAX_ROWS:
        raise BadRequestError(f"the answer has more than {MAX_ROWS} rows: narrow the range or the grouping")
    zero_row = question.zero_row and _is_plain_count(meter, question)
    rows = [
        _row(question, *values)
        for values in found
        if values[0] is not None and (values[0] or _keeps_zero(meter, zero_row))
    ]
    if not rows and zero_row:
        start, end = minute_span(_EPOCH, _EPOCH)
        return [Row(Decimal(0), question.start or start, question.end or end, None, None, None, ())]
    return sorted(rows, key=_place)


def _is_plain_count(meter: Meter, question: Question) -> bool:
    grouped = question.group_by or question.by_subject or question.by_customer or question.by_subscription
    return meter.aggregation in ("COUNT", "UNIQUE_COUNT") and not grouped and question.window_size is None


def _keeps_zero(meter: Meter, zero_row: bool) -> bool:  # noqa: FBT001
    """A sum may be 0; no unique values at all means that the group had no usable ones, and then there is no row."""
    return meter.aggregation != "UNIQUE_COUNT" or zero_row


def _place(row: Row) -> tuple[Any, ...]:
    # In UTC: date-times of one zone compare by their wall clock, which shows an hour twice in autumn.
    return (
        row.window_start.astimezone(UTC),
        row.subject or "",
        row.customer_id or "",
        row.subscription or "",
        row.group_values,
    )


def _row(question: Question, value: Decimal, first: datetime, last: datetime, *keys: str | None) -> Row:
    if question.window_size is not None:
        start, end = window_of(first, question.window_size, question.zone)
    else:
        start, end = minute_span(first, last)
        start, end = question.start or start, question.end or end
    subject, customer_id, subscription, *groups = keys[1:]
    return Row(Decimal(value), start, end, subject, customer_id, subscription, tuple(group or "" for group in groups))


def _statement(scope: Scope, meter: Meter, question: Question) -> Select[Any]:
    """Columns: value, first and last event time, window, subject, customer, subscription, group values in order.

    Groups go by the columns' labels: a bound parameter repeated in GROUP BY would be another expression to Postgres.
    """
    e = events.c
    paths = {
        key: Extraction(e.data, parse_path(meter.group_by[key]), f"path_{key}")
        for key in sorted({*question.group_by, *question.filters})
    }
    metered = None
    if meter.aggregation != "COUNT" and meter.value_property is not None:
        metered = Extraction(e.data, parse_path(meter.value_property), "metered_value")
    source: FromClause = events
    for extraction in [*paths.values(), *([metered] if metered else [])]:
        if extraction.lateral is not None:
            source = source.outerjoin(extraction.lateral, true())
    if question.customer_ids:
        owner = customer_subjects.c
        owned = and_(owner.account_id == e.account_id, owner.bucket_no == e.bucket_no, owner.subject == e.subject)
        source = source.join(customer_subjects, owned)
    keys = _keys(question)
    nothing: ColumnElement[Any] = literal_column("NULL::text")
    fixed = [keys.get(name, nothing).label(name) for name in _FIXED_KEYS]
    groups = [paths[key].text().label(f"key_group_{number}") for number, key in enumerate(question.group_by)]
    during = occurred(meter, scope, question.start, question.end, to_inclusive=question.to_inclusive)
    return (
        select(_aggregate(meter, metered), func.min(e.time), func.max(e.time), *fixed, *groups)
        .select_from(source)
        .where(during, *_filters(question, paths))
        .group_by(*keys, *(group.name for group in groups))
        .having(func.count() > 0)
    )


_FIXED_KEYS = ("key_window", "key_subject", "key_customer", "key_subscription")
_SUBSCRIPTION = func.coalesce(events.c.attributes.op("->>", return_type=Text())("subscription"), "")


def _keys(question: Question) -> dict[str, ColumnElement[Any]]:
    """What the question groups by, besides the meter's own groups."""
    keys: dict[str, ColumnElement[Any]] = {}
    if question.window_size is not None:
        keys["key_window"] = func.date_trunc(question.window_size.lower(), events.c.time, question.zone.key)
    if question.by_subject:
        keys["key_subject"] = events.c.subject
    if question.by_customer:
        keys["key_customer"] = customer_subjects.c.customer_id
    if question.by_subscription:
        keys["key_subscription"] = _SUBSCRIPTION
    return keys


def _filters(question: Question, paths: Mapping[str, Extraction]) -> list[ColumnElement[bool]]:
    filters = [
        compare_text(condition, paths[key].text(), paths[key].exists()) for key, condition in question.filters.items()
    ]
    if question.subjects:
        filters.append(events.c.subject.in_(question.subjects))
    if question.customer_ids:
        filters.append(customer_subjects.c.customer_id.in_(question.customer_ids))
    if question.subscriptions:
        filters.append(_SUBSCRIPTION.in_(question.subscriptions))
    return filters


def _aggregate(meter: Meter, value: Extraction | None) -> ColumnElement[Any]:
    if value is None:
        return func.count()
    if meter.aggregation == "UNIQUE_COUNT":
        text = value.text()
        counted = and_(text != "", func.jsonb_typeof(value.value) != "null")
        return func.count(distinct(text)).filter(counted)
    number = value.number()
    if meter.aggregation == "LATEST":
        # The greatest (time, arrival) carries its value along: one pass, and no sort of the group.
        e = events.c
        carried = array([extract("epoch", e.time), extract("epoch", e.ingested_at), cast(e.seq, Numeric), number])
        greatest = func.max(carried, type_=ARRAY(Numeric)).filter(number.is_not(None))
        return func.trim_scale(Grouping(cast(greatest, ARRAY(Numeric)))[4])
    return func.trim_scale(getattr(func, meter.aggregation.lower())(number))


def compare_text(
    condition: Condition, text: ColumnElement[str], exists: ColumnElement[bool] | None = None
) -> ColumnElement[bool]:
    """The condition on a text, compared byte by byte. A column that is never missing needs no `exists`."""
    there = true() if exists is None else exists
    match condition:
        case Compare(operator, value):
            return _COMPARE[operator](text.collate("C"), value)
        case OneOf(values, negated):
            return text.not_in(values) if negated else text.in_(values)
        case Exists(wanted):
            return there if wanted else not_(there)
        case Every(parts):
            return and_(true(), *(compare_text(part, text, exists) for part in parts))
        case Some(parts):
            return or_(*(compare_text(part, text, exists) for part in parts))


# $ilike lower-cases both sides, as OpenMeter does.
_COMPARE: dict[str, Callable[[ColumnElement[str], str], ColumnElement[bool]]] = {
    "$eq": lambda text, value: text == value,
    "$ne": lambda text, value: text != value,
    "$gt": lambda text, value: text > value,
    "$gte": lambda text, value: text >= value,
    "$lt": lambda text, value: text < value,
    "$lte": lambda text, value: text <= value,
    "$like": lambda text, value: text.like(value),
    "$nlike": lambda text, value: text.not_like(value),
    "$ilike": lambda text, value: func.lower(text).like(func.lower(value)),
    "$nilike": lambda text, value: func.lower(text).not_like(func.lower(value)),
}


async def group_values(connection: AsyncConnection, meter: Meter, key: str, during: ColumnElement[bool]) -> list[str]:
    """Distinct values of one group key, ascending; "" where an event has none."""
    path = Extraction(events.c.data, parse_path(meter.group_by[key]), "listed")
    source: FromClause = events if path.lateral is None else events.outerjoin(path.lateral, true())
    statement = select(distinct(path.text().collate("C").label("value"))).select_from(source).where(during)
    return await _listed(connection, statement)


async def subjects(connection: AsyncConnection, during: ColumnElement[bool]) -> list[str]:
    return await _listed(connection, select(distinct(events.c.subject.collate("C"))).where(during))


async def _listed(connection: AsyncConnection, statement: Select[Any]) -> list[str]:
    return sorted((await connection.execute(statement.limit(MAX_ROWS))).scalars())
