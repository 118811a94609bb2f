"""Calendar windows in a zone: full, half-open, right when the clocks change (reference: metering 3.2, 8.3)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

import tzdata

WindowSize = Literal["MINUTE", "HOUR", "DAY", "MONTH"]
WINDOW_SIZES: tuple[WindowSize, ...] = ("MINUTE", "HOUR", "DAY", "MONTH")

# The pinned package alone, not what a machine happens to have: all processes read the same rules, and can name them.
reset_tzpath(to=())

TZ_VERSION: str = tzdata.IANA_VERSION
"""Of the time zone database: 2026f."""

_MICROSECOND = timedelta(microseconds=1)


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    # `localtime` is how systems call the zone that they are set to.
    return frozenset(available_timezones()) - {"localtime"}


def find_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name. ValueError for anything else; no path of the file system is ever tried."""
    if name not in zone_names():
        raise ValueError(f"unknown time zone {name[:64]!r}: use a name of the IANA time zone database")
    return ZoneInfo(name)


def window_of(instant: datetime, size: WindowSize, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The window that holds `instant`, [start, end), in the zone's local time."""
    if size in ("DAY", "MONTH"):
        start, end = _by_date(instant.astimezone(zone).date(), size, zone)
    else:
        start, end = _by_clock(instant, timedelta(hours=1) if size == "HOUR" else timedelta(minutes=1), zone)
    return start.astimezone(zone), end.astimezone(zone)


def _by_date(day: date, size: WindowSize, zone: ZoneInfo) -> tuple[datetime, datetime]:
    if size == "DAY":
        following = day + timedelta(days=1)
    else:
        day = day.replace(day=1)
        following = (day + timedelta(days=31)).replace(day=1)
    return first_instant(day, zone), first_instant(following, zone)


def first_instant(day: date, zone: tzinfo) -> datetime:
    """When a local date begins; where midnight is skipped, the first instant after the gap. In UTC."""
    midnight = datetime.combine(day, time(), zone)
    begins = midnight.astimezone(UTC)
    if begins.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return begins
    return _change_of_offset(begins - timedelta(days=1), begins, zone)


@dataclass(frozen=True, slots=True)
class ClockChange:
    """From `at` on the clocks are ahead of UTC by `after` and no longer by `before`."""

    at: datetime
    before: timedelta
    after: timedelta


def clock_change(day: date, zone: tzinfo) -> ClockChange | None:
    """Of a local day. Where the clocks skip midnight it is the day that begins so."""
    start, end = (first_instant(day + timedelta(days=days), zone) - _MICROSECOND for days in (0, 1))
    before, after = (instant.astimezone(zone).utcoffset() for instant in (start, end))
    assert before is not None, "zones have offsets"
    assert after is not None, "zones have offsets"
    return None if before == after else ClockChange(_change_of_offset(start, end, zone), before, after)


def _by_clock(instant: datetime, length: timedelta, zone: tzinfo) -> tuple[datetime, datetime]:
    """Hours and minutes run on in real time; a clock change inside one cuts it at the change."""
    instant = instant.astimezone(UTC)
    local = instant.astimezone(zone)
    offset = local.utcoffset()
    into = timedelta(minutes=local.minute if length > timedelta(minutes=1) else 0, seconds=local.second)
    start = instant - into - timedelta(microseconds=local.microsecond)
    end = start + length
    if start.astimezone(zone).utcoffset() != offset:
        start = _change_of_offset(start, instant, zone)
    if (end - _MICROSECOND).astimezone(zone).utcoffset() != offset:
        end = _change_of_offset(instant, end, zone)
    return start, end


def _change_of_offset(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The first instant in (before, after] with the offset that holds at `after`, by bisection. UTC, whole seconds."""
    wanted = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == wanted:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)


def minute_span(first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """Whole UTC minutes around first and last: floor of the one, the minute after the other."""
    start = first.astimezone(UTC).replace(second=0, microsecond=0)
    return start, last.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
