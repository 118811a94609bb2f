"""Years to milliseconds: added, set, and the periods of the calendar by name (reference: streams, the functions)."""

from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from meterhouse.rules.moments import format_moment

# Largest first: the order in which several changes of one moment are made.
UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond")
_MONTHS_OF = {"year": 12, "quarter": 3, "month": 1}


def add(moment: datetime, unit: str, count: int) -> datetime:
    """By the calendar: one month after 31 January is the last day of February. ValueError beyond the year 9999."""
    try:
        if unit in _MONTHS_OF:
            return _add_months(moment, count * _MONTHS_OF[unit])
        return moment + timedelta(**{f"{unit}s": count})
    except OverflowError:
        raise ValueError(f"{count} {unit}s away there is no date") from None


def _add_months(moment: datetime, count: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    if not 1 <= year <= 9999:
        raise ValueError(f"there is no year {year}")
    last_day = monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))


def set_unit(moment: datetime, unit: str, value: int) -> datetime:
    """Counted as on paper: months and days of the month from 1. What is too large runs over, as in moment.js."""
    present = {
        "quarter": (moment.month + 2) // 3,
        "week": moment.isocalendar().week,
        "millisecond": moment.microsecond // 1000,
    }
    return add(moment, unit, value - (present[unit] if unit in present else int(getattr(moment, unit))))


PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "HOUR": lambda m: format_moment(m, "YYYY-MM-DDTHH"),
    "DAY": lambda m: format_moment(m, "YYYY-MM-DD"),
    "WEEK": lambda m: f"{m.isocalendar().year:04}-W{m.isocalendar().week:02}",
    "MONTH": lambda m: format_moment(m, "YYYY-MM"),
    "QUARTER": lambda m: format_moment(m, "YYYY-[Q]Q"),
    "YEAR": lambda m: format_moment(m, "YYYY"),
}
"""The names of calendar periods: 2026-01-31T23, 2026-01-31, 2026-W05 (ISO 8601), 2026-01, 2026-Q1, 2026."""
