"""When a period ends: crontab schedules in a time zone (reference: usage engine 1.4, 2.5).

A schedule names times on the wall clock. A fixed time that the clocks skip counts at the first instant after the gap;
one that they repeat counts once, the first time. A schedule of every hour follows real hours instead: it counts again
in a repeated hour and leaves out what is skipped.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import croniter

# Field → its lowest and highest value. Weekdays 0 and 7 are both Sunday.
FIELDS: Mapping[str, tuple[int, int]] = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "weekday": (0, 7),
}
MAX_FIELD_LENGTH = 256

_LAST_DAY = "L"
_ITEM = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", re.ASCII)
_SHORT_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}

# From 29 February 2096 to the next one.
_MAX_YEARS_APART = 9


@dataclass(frozen=True, slots=True)
class Schedule:
    """Five crontab fields, checked: ValueError when one is bad or when no date ever matches all of them."""

    minute: str
    hour: str
    day: str
    month: str
    weekday: str

    def __post_init__(self) -> None:
        for name in FIELDS:
            check_field(name, getattr(self, name))
        comes = _LAST_DAY in self.day.split(",") or not _is_every("weekday", self.weekday)
        longest = max(_SHORT_MONTHS.get(month, 31) for month in _values("month", self.month))
        if not comes and min(_values("day", self.day)) > longest:
            raise ValueError(f"never happens: month {self.month} has no day {self.day}")


# Every meter of a type asks with the same five texts.
schedule_of = lru_cache(maxsize=1024)(Schedule)


def check_field(name: str, text: str) -> None:
    """ValueError for anything but `*`, n, a-b, steps of both (`*/n`, a-b/n), lists of these, and `L` as a day."""
    if len(text) > MAX_FIELD_LENGTH:
        raise ValueError(f"must have at most {MAX_FIELD_LENGTH} characters")
    _values(name, text)


def _values(name: str, text: str) -> set[int]:
    """The numbers that a field names, Sunday as 0. `L` is no number."""
    items = [item for item in text.split(",") if (name, item) != ("day", _LAST_DAY)]
    values = {value for item in items for value in _item_values(name, item)}
    return {value % 7 for value in values} if name == "weekday" else values


def _item_values(name: str, item: str) -> range:
    match = _ITEM.fullmatch(item)
    if match is None or (match[3] and match[1] and not match[2]):
        last = ", and L for the last day" if name == "day" else ""
        raise ValueError(f"{item[:20]!r} is not understood: use *, n, a-b, a,b, */n{last}")
    low, high = FIELDS[name]
    start = low if match[1] is None else int(match[1])
    stop = int(match[2] or match[1] or high)
    step = int(match[3] or 1)
    if not low <= start <= stop <= high:
        raise ValueError(f"{item!r} is out of range: a {name} is {low} to {high}, and a range runs upwards")
    if not 1 <= step <= high:
        raise ValueError(f"{item!r} has a step that is not 1 to {high}")
    return range(start, stop + 1, step)


def _is_every(name: str, text: str) -> bool:
    """Whether the field restricts nothing, however that is spelled."""
    return _values(name, text) == {value % 7 if name == "weekday" else value for value in _range(name)}


def _range(name: str) -> range:
    low, high = FIELDS[name]
    return range(low, high + 1)


def _plain(name: str, text: str) -> str:
    """The field as `*` or a list of numbers, so that nothing hangs on how croniter reads the rest of crontab."""
    if _is_every(name, text):
        return "*"
    last = [_LAST_DAY] if name == "day" and _LAST_DAY in text.split(",") else []
    return ",".join([str(value) for value in sorted(_values(name, text))] + last)


@lru_cache(maxsize=1024)
def _prepared(schedule: Schedule) -> tuple[croniter, bool]:
    """The matches on the wall clock (shared: to be asked with a start each time), and whether every hour has some."""
    plain = {name: _plain(name, getattr(schedule, name)) for name in FIELDS}
    matches = croniter(" ".join(plain.values()), 0, max_years_between_matches=_MAX_YEARS_APART)
    return matches, plain["hour"] == "*"


def next_instant(schedule: Schedule, zone: ZoneInfo, after: datetime) -> datetime:
    """The first instant of the schedule later than `after`, which is aware. In UTC."""
    matches, every_hour = _prepared(schedule)
    after = after.astimezone(UTC)
    wall = _wall_clock(after, zone)
    if not every_hour:
        return _next_fixed(matches, zone, wall, after)
    following = _next_real(matches, zone, wall, after)
    shown = _showing(wall, zone)
    if len(shown) == 1:
        return following
    # The clocks are being set back: what they show earlier than now is still to come a second time.
    return min(following, _next_real(matches, zone, wall - (shown[1] - shown[0]), after))


def _next_fixed(matches: croniter, zone: ZoneInfo, wall: datetime, after: datetime) -> datetime:
    while True:
        wall = matches.get_next(datetime, start_time=wall)
        if (instant := _first_reaching(wall, zone)) > after:
            return instant


def _next_real(matches: croniter, zone: ZoneInfo, wall: datetime, after: datetime) -> datetime:
    while True:
        wall = matches.get_next(datetime, start_time=wall)
        for instant in _showing(wall, zone):
            if instant > after:
                return instant


def _wall_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _showing(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """The instants at which the clocks show this: one, none when it is skipped, two when it is repeated."""
    both = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in both if _wall_clock(instant, zone) == wall)


def _first_reaching(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the clocks show this or, where they skip it, more. Never falls as `wall` rises."""
    if shown := _showing(wall, zone):
        return shown[0]
    # Read with the offset after the gap a skipped time lies before it, with the offset before the gap at or after it.
    early, late = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    seconds = range(int((late - early).total_seconds()))
    skipped = bisect_left(seconds, True, key=lambda s: _wall_clock(early + timedelta(seconds=s), zone) >= wall)
    return early + timedelta(seconds=skipped)
