from decimal import Decimal

import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.make import handle, make_node, reasons, sent

END_OF_DAY = {
    "second": {"mode": "set", "value": 59},
    "minute": {"mode": "set", "value": 59},
    "hour": {"mode": "set", "value": 23},
}


def rewritten(value, **item):
    return handle(make_node("transforms/date", items=[{"field": "t", **item}]), [{"t": value, "other": 1}])


@pytest.mark.parametrize(
    ("value", "item", "text"),
    [
        (
            "2022-Jan-01",
            {
                "inputFormat": "YYYY-MMM-DD",
                "mode": "modify",
                "operation": END_OF_DAY,
                "outputFormat": "YYYY-MM-DDTHH:mm:ss.SSS[Z]",
            },
            "2022-01-01T23:59:59.000Z",
        ),
        ("2026-01-31", {"operation": {"month": {"mode": "add", "value": 1}}, "outputFormat": "D MMM"}, "28 Feb"),
        ("2026-03-31", {"operation": {"months": {"mode": "subtract", "value": "1"}}, "outputFormat": "MM-DD"}, "02-28"),
        (
            "2024-02-29",
            {"operation": {"year": {"mode": "add", "value": 1}}, "outputFormat": "YYYY-MM-DD"},
            "2025-02-28",
        ),
        ("2026-01-15T10:00:00+05:30", {"outputFormat": "YYYY-MM-DDTHH:mmZ"}, "2026-01-15T10:00+05:30"),
        ("2026-01-15T10:00:00+05:30", {}, "2026-01-15T04:30:00.000Z"),
        (1_768_471_200_000, {"outputFormat": "YYYY-MM-DD HH"}, "2026-01-15 10"),
        (Decimal("1768471200.5"), {"inputFormat": "X", "outputFormat": "x"}, "1768471200500"),
        ("2026-01-15", {"mode": "format", "operation": END_OF_DAY, "outputFormat": "DD/MM/YYYY HH"}, "15/01/2026 00"),
    ],
)
def test_dates_are_rewritten(value, item, text):
    assert sent(rewritten(value, **item)) == [{"t": text, "other": 1}]


def test_the_largest_unit_is_changed_first_however_they_are_written_down():
    operation = {"day": {"mode": "set", "value": 31}, "month": {"mode": "add", "value": 2}}
    assert sent(rewritten("2026-01-15", operation=operation, outputFormat="YYYY-MM-DD"))[0]["t"] == "2026-03-31"


@pytest.mark.parametrize(
    ("value", "item", "reason"),
    [
        ("soon", {}, "t: 'soon' is no date in ISO 8601"),
        ("2026-02-30", {"inputFormat": "YYYY-MM-DD"}, "t: '2026-02-30' is no existing date"),
        (None, {}, "t is missing"),
        ("9999-12-31", {"operation": {"day": {"mode": "add", "value": 1}}}, "t: 1 days away"),
        ("0001-01-01T00:00+10:00", {}, "t: "),
    ],
)
def test_what_is_no_date_is_rejected_as_it_came(value, item, reason):
    step = rewritten(value, **item)
    assert reasons(step)[0].startswith(reason)
    assert step.rejected[0][0].payload == {"t": value, "other": 1}


@pytest.mark.parametrize(
    "item",
    [
        {"outputFormat": "LLLL"},
        {"operation": {"fortnight": {"mode": "add", "value": 1}}},
        {"operation": {"day": {"mode": "multiply", "value": 1}}},
        {"operation": {"day": {"mode": "add", "value": "one"}}},
        {"operation": {"day": 1}},
    ],
)
def test_broken_items_are_refused(item):
    with pytest.raises(StreamError, match="The node: t: "):
        rewritten("2026-01-01", **item)
