from datetime import UTC, datetime

import pytest

from meterhouse.rules.calendar_units import PERIODS, UNITS, add, set_unit


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "unit", "count", "end"),
    [
        ("2026-01-31", "month", 1, "2026-02-28"),
        ("2024-02-29", "year", 1, "2025-02-28"),
        ("2026-03-31", "month", -1, "2026-02-28"),
        ("2026-11-30", "quarter", 1, "2027-02-28"),
        ("2026-12-31", "day", 1, "2027-01-01"),
        ("2026-01-01", "week", -1, "2025-12-25"),
        ("2026-01-01T23:00", "hour", 2, "2026-01-02T01:00"),
        ("2026-01-01", "millisecond", -1, "2025-12-31T23:59:59.999"),
        ("9999-11-30", "month", 1, "9999-12-30"),
    ],
)
def test_months_and_years_are_added_by_the_calendar(start, unit, count, end):
    assert add(at(start), unit, count) == at(end)


@pytest.mark.parametrize("unit", UNITS)
def test_no_date_lies_beyond_the_calendar(unit):
    with pytest.raises(ValueError):
        add(at("2026-01-01"), unit, 10**17)


@pytest.mark.parametrize(
    ("unit", "value", "end"),
    [
        ("year", 2025, "2025-02-28T10:20:30.400"),
        ("month", 1, "2024-01-29T10:20:30.400"),
        ("month", 13, "2025-01-29T10:20:30.400"),
        ("quarter", 2, "2024-05-29T10:20:30.400"),
        ("day", 1, "2024-02-01T10:20:30.400"),
        ("day", 31, "2024-03-02T10:20:30.400"),
        ("hour", 23, "2024-02-29T23:20:30.400"),
        ("minute", 59, "2024-02-29T10:59:30.400"),
        ("second", 0, "2024-02-29T10:20:00.400"),
        ("millisecond", 999, "2024-02-29T10:20:30.999"),
    ],
)
def test_a_unit_is_set_and_what_is_too_large_runs_over(unit, value, end):
    assert set_unit(at("2024-02-29T10:20:30.400"), unit, value) == at(end)


@pytest.mark.parametrize(
    ("period", "name"),
    [
        ("HOUR", "2027-01-01T09"),
        ("DAY", "2027-01-01"),
        ("WEEK", "2026-W53"),
        ("MONTH", "2027-01"),
        ("QUARTER", "2027-Q1"),
        ("YEAR", "2027"),
    ],
)
def test_periods_have_names(period, name):
    assert PERIODS[period](at("2027-01-01T09:30")) == name
