"""The answer of a meter query, as JSON and as CSV (reference: metering 2.2)."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from meterhouse.buckets.query import Question, Row
from meterhouse.rules.instants import format_instant
from meterhouse.wire import rfc3339

_SIX_PLACES = Decimal("0.000001")
_ENDLESS = Context(prec=200_000, rounding=ROUND_HALF_EVEN)


def query_json(question: Question, rows: Sequence[Row]) -> dict[str, Any]:
    """from, to and windowSize are echoed only if they were sent."""
    body: dict[str, Any] = {
        "from": rfc3339(question.start),
        "to": rfc3339(question.end),
        "windowSize": question.window_size,
    }
    return {name: value for name, value in body.items() if value is not None} | {
        "data": [_row_json(question, row) for row in rows]
    }


def _row_json(question: Question, row: Row) -> dict[str, Any]:
    body: dict[str, Any] = {
        "value": row.value,
        "windowStart": format_instant(row.window_start),
        "windowEnd": format_instant(row.window_end),
        "subject": row.subject,
        "groupBy": dict(zip(question.group_by, row.group_values, strict=True)),
    }
    if row.customer_id is not None:
        body["customerId"] = row.customer_id
    if question.by_subscription:
        body["groupBy"]["subscription"] = row.subscription
    return body


def query_csv(question: Question, rows: Sequence[Row]) -> str:
    """Columns window_start, window_end, subject if grouped by it, the group keys as asked, value; lines end with LF."""
    columns = [key for key in question.columns if key != "subject"]
    output = io.StringIO()
    write = csv.writer(output, lineterminator="\n").writerow
    write(["window_start", "window_end", *(["subject"] if question.by_subject else []), *columns, "value"])
    for row in rows:
        named = dict(zip(question.group_by, row.group_values, strict=True))
        keys = {"customer_id": row.customer_id or "", "subscription": row.subscription or ""} | named
        write(
            [
                _seconds(row.window_start),
                _seconds(row.window_end),
                *([row.subject] if question.by_subject else []),
                *(keys[column] for column in columns),
                f"{row.value.quantize(_SIX_PLACES, context=_ENDLESS):f}",
            ]
        )
    return output.getvalue()


def _seconds(instant: datetime) -> str:
    """RFC 3339 in whole seconds, as Go prints it."""
    return format_instant(instant.replace(microsecond=0))
