"""Schedules, compared with a walk through every minute of three years that knows nothing of how they are computed."""

import calendar
import random
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from meterhouse.rules.periods import Schedule, next_instant, schedule_of

QUARTER = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)

SCHEDULES = [
    "0 0 * * *",
    "0 0 1 * *",
    "0 0 L * *",
    "30 2 * * *",
    "0,30 1-2 * * 0,6",
    "*/20 */6 * 3-4,10-11 0",
    "59 23 1,15,L * *",
    "0 0 29 2 *",
    "15 0 13 * 5",
    "0 12 31 */3 1-5",
    "0 3 30-31 12,2 *",
    "5 4 * * 7,6",
    "45 1 */10 * 1-5/2",
]
# Of every hour, however that is spelled: many instants, so only where the clocks change in their own ways.
HOURLY = ["0 * * * *", "30 0-23 * * 0,6", "10,45 */1 1-4,L 3,4,10-12 *", "15 0-11,12-23 * 10,12,4 *"]

ZONES = {
    "Etc/UTC": 2026,
    "Europe/Stockholm": 2026,  # with the leap day of 2028
    "America/Havana": 2026,  # the clocks change at midnight
    "Australia/Lord_Howe": 2026,  # by half an hour
    "Asia/Kolkata": 2026,
    "America/Sao_Paulo": 2017,  # days that began at one o'clock
    "Africa/Casablanca": 2026,  # an hour back for Ramadan
    "Pacific/Apia": 2010,  # without 30 December 2011
}


def parse(text):
    return schedule_of(*text.split())


@cache
def quarters(zone, year):
    """Every quarter of an hour of three years: its instant and what the clocks show. Zones change on quarters."""
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 3, 1, 1, tzinfo=UTC)
    instants = [start + number * QUARTER for number in range((end - start) // QUARTER)]
    return [(instant, instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for instant in instants]


@cache
def changes(zone, year):
    """The instants from which the clocks show something else than a quarter of an hour more."""
    return [now for (_, before), (now, wall) in pairwise(quarters(zone, year)) if wall - before != QUARTER]


def names(field, value, end):
    """Whether one field of crontab names a value."""
    for item in field.split(","):
        span, _, step = item.partition("/")
        low, _, high = span.partition("-")
        if span != "*" and not low.isdigit():
            continue
        first = 0 if span == "*" else int(low)
        last = end if span == "*" else int(high or low)
        origin = first if span != "*" else {31: 1, 12: 1}.get(end, 0)
        if first <= value <= last and (value - origin) % int(step or 1) == 0:
            return True
    return False


def holds_day(text, date):
    _, _, day, month, weekday = text.split()
    last = calendar.monthrange(date.year, date.month)[1]
    by_day = names(day, date.day, 31) or ("L" in day.split(",") and date.day == last)
    number = date.isoweekday()
    by_weekday = names(weekday, number, 7) or (number == 7 and names(weekday, 0, 7))
    if not names(month, date.month, 12):
        return False
    if day == "*" or weekday == "*":
        return by_day and by_weekday
    return by_day or by_weekday


@cache
def times_of(text):
    """The named times of a day, as (hour, minute), by the quarter of an hour they are in."""
    minute_field, hour_field, *_ = text.split()
    minutes = [m for m in range(60) if names(minute_field, m, 59)]
    hours = [h for h in range(24) if names(hour_field, h, 23)]
    return {(h, q): [m for m in minutes if m // 15 == q] for h in hours for q in range(4)}


@cache
def walked(text, zone, year, *, hourly):
    """All instants of the schedule in three years, by the rules alone.

    Every hour: whenever the clocks show a named time. Else a named time counts when the clocks first show it or more.
    """
    found, days, times = [], {}, times_of(text)

    def named(wall):
        minutes = times.get((wall.hour, wall.minute // 15))
        if not minutes:
            return []
        date = wall.date()
        if date not in days:
            days[date] = holds_day(text, date)
        return [minute - wall.minute for minute in minutes if days[date]]

    furthest = quarters(zone, year)[0][1]
    for instant, wall in quarters(zone, year):
        if wall > furthest and not hourly:
            skipped = [furthest + number * QUARTER for number in range((wall - furthest) // QUARTER)]
            if any(named(quarter) for quarter in skipped):
                found.append(instant)
        if wall >= furthest or hourly:
            found += [at for minutes in named(wall) if (at := instant + minutes * MINUTE) not in found[-1:]]
        furthest = max(furthest, wall + QUARTER)
    return found


CASES = [(text, zone, False) for text in SCHEDULES for zone in ZONES] + [
    (text, zone, True) for text in HOURLY for zone in ("Europe/Stockholm", "Australia/Lord_Howe", "Pacific/Apia")
]


@pytest.mark.parametrize(("text", "zone", "hourly"), CASES)
def test_three_years_are_as_the_walk_found_them(text, zone, hourly):
    year, schedule, place = ZONES[zone], parse(text), ZoneInfo(zone)
    expected = walked(text, zone, year, hourly=hourly)
    after = datetime(year, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
    for instant in expected:
        found = next_instant(schedule, place, after)
        assert found == instant > after
        after = found
    assert next_instant(schedule, place, after) >= datetime(year + 3, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("text", "zone", "hourly"), CASES)
def test_from_any_instant_the_next_one_is_found(text, zone, hourly):
    """Not only from one end to the next: mostly around the changes of the clocks, to the microsecond."""
    year, schedule, place = ZONES[zone], parse(text), ZoneInfo(zone)
    expected = walked(text, zone, year, hourly=hourly)
    chance = random.Random(f"{text} {zone}")
    starts = [chance.choice(quarters(zone, year))[0] for _ in range(10)]
    starts += [change + chance.randint(-200, 200) * MINUTE for change in changes(zone, year) for _ in range(5)]
    for start in starts:
        after = start + timedelta(microseconds=chance.choice([0, 0, 1, 59_999_999, -1]))
        position = bisect_right(expected, after)
        if position < len(expected):
            assert next_instant(schedule, place, after) == expected[position], after


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("0 0 1 * *", "Europe/Berlin", "2025-11-10T14:16:12.852Z", "2025-11-30T23:00Z"),
        ("0 0 1 * *", "Europe/Berlin", "2026-03-08T13:59Z", "2026-03-31T22:00Z"),
        ("0 0 1 * *", "Etc/UTC", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        ("30 2 * * *", "Europe/Stockholm", "2026-03-29T00:00Z", "2026-03-29T01:00Z"),  # 02:30 is skipped: 03:00
        ("30 2 * * *", "Europe/Stockholm", "2026-10-24T23:00Z", "2026-10-25T00:30Z"),  # the first 02:30
        ("30 2 * * *", "Europe/Stockholm", "2026-10-25T00:30Z", "2026-10-26T01:30Z"),  # and not the second
        ("0 * * * *", "Europe/Stockholm", "2026-10-25T00:00Z", "2026-10-25T01:00Z"),  # 02:00 once more
        ("0 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00Z", "2026-04-04T15:30Z"),  # 01:00, then 02:00
        ("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:45Z", "2026-04-04T15:15Z"),  # 01:45 twice
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00Z", "2026-03-08T05:00Z"),  # the day begins at 01:00
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", "2018-11-04T03:00Z"),
        ("0 12 30 * *", "Pacific/Apia", "2011-12-29T12:00Z", "2011-12-30T10:00Z"),  # the day that was not
        ("0 0 29 2 *", "Etc/UTC", "2096-03-01T00:00Z", "2104-02-29T00:00Z"),
        ("0 0 31 2 1", "Etc/UTC", "2026-11-22T00:00Z", "2027-02-01T00:00Z"),
    ],
)
def test_known_instants(text, zone, after, expected):
    found = next_instant(parse(text), ZoneInfo(zone), datetime.fromisoformat(after))
    assert found == datetime.fromisoformat(expected)


def test_after_may_be_in_any_zone():
    local = datetime(2026, 3, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert next_instant(parse("0 0 1 * *"), ZoneInfo("UTC"), local) == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 * ", "* * * 0 *", "* * * * 8"),
        *("R * * * *", "H * * * *", "? * * * *", "* * ? * *", "* * * * 5#3", "* * * * L", "* * * * L5", "* * LW * *"),
        *("* * * JAN *", "* * * * MON", "*/0 * * * *", "5/10 * * * *", "10-5 * * * *", "1,,2 * * * *", ",1 * * * *"),
        *("-1 * * * *", "1- * * * *", "+1 * * * *", "1.5 * * * *", "** * * * *", "*-5 * * * *", "001 * * * *"),
        *("0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 0-6", "* * * * 7-0"),
    ],
)
def test_other_fields_and_impossible_dates_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Schedule(*text.split())


def test_a_schedule_is_read_once():
    assert parse("0 0 L * *") is parse("0 0 L * *")
