"""Ten schedules and zones, metered for three years, month by month, in a sandbox.

The ends of periods are compared with a search through the minutes that asks the zone alone what its clocks show: a
named time counts in the first minute in which they show it or, where they skip it, more.
"""

import calendar
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from meterhouse.rules.windows import find_zone
from meterhouse.verify import verify_files
from tests.sandbox import open_sandbox, parse
from tests.usage_engine import make_schedule

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

TYPES = {
    "last days of months": ("Europe/Stockholm", {"day": "L"}),
    "leap days": ("Etc/UTC", {"day": "29", "month": "2"}),
    "midnights of which Havana skips one a year": ("America/Havana", {"day": "*"}),
    "half past two which Stockholm skips and repeats": ("Europe/Stockholm", {"minute": "30", "hour": "2", "day": "*"}),
    "a quarter to two which Lord Howe repeats": ("Australia/Lord_Howe", {"minute": "45", "hour": "1", "day": "*"}),
    "Mondays": ("Asia/Kathmandu", {"day": "*", "weekday": "1"}),
    "half hours of a week": ("America/New_York", {"minute": "*/30", "hour": "1-3", "day": "8-14", "month": "3"}),
    "quarters and Sundays": ("Africa/Casablanca", {"minute": "15", "month": "1,4,7,10", "weekday": "0"}),
    "noons of the 31st": ("America/Sao_Paulo", {"hour": "12", "day": "31"}),
    "twice a month": ("Asia/Tokyo", {"minute": "59", "hour": "23", "day": "1,15"}),
}


def numbers(field, low, high):
    """What a field of crontab names, of the forms above."""
    found = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            found |= set(range(low, high + 1, int(step or 1)))
        elif span != "L":
            found |= set(range(int(first), int(last or first) + 1))
    return found


def is_named(schedule, day):
    last = calendar.monthrange(day.year, day.month)[1]
    by_day = day.day in numbers(schedule["day"], 1, 31) or (schedule["day"] == "L" and day.day == last)
    by_weekday = day.isoweekday() % 7 in numbers(schedule["weekday"], 0, 6)
    either = "*" not in (schedule["day"], schedule["weekday"])
    return day.month in numbers(schedule["month"], 1, 12) and (
        by_day or by_weekday if either else by_day and by_weekday
    )


def first_minute(zone, wall):
    """Searched from four hours before to four hours behind where the clocks would show it if none ever changed."""
    middle = wall.replace(tzinfo=UTC) - wall.replace(tzinfo=find_zone(zone)).utcoffset()
    minutes = (middle + number * MINUTE for number in range(-240, 241))
    return next(minute for minute in minutes if minute.astimezone(find_zone(zone)).replace(tzinfo=None) >= wall)


def ends(zone, schedule, start, end):
    """All instants of the schedule in (start, end]."""
    times = [(h, m) for h in numbers(schedule["hour"], 0, 23) for m in numbers(schedule["minute"], 0, 59)]
    days = (start.date() + number * DAY for number in range(-1, (end - start).days + 3))
    walls = [datetime(day.year, day.month, day.day, h, m) for day in days if is_named(schedule, day) for h, m in times]
    return sorted({at for wall in walls if start < (at := first_minute(zone, wall)) <= end})


@pytest.fixture(scope="module")
def walked(installation, start_api, tmp_path_factory):
    """The customer, the stream, the meters by type, and when which meter used how much."""
    year = next(year for year in range(datetime.now(UTC).year + 1, 2100) if year % 4 in (2, 3, 0))
    chance = random.Random(year)
    used = []
    with open_sandbox(installation, start_api, tmp_path_factory) as sandbox, sandbox.open_customer() as customer:
        sandbox.start_worker()
        customer.set_clock(datetime(year, 1, 1, 5, 21, tzinfo=UTC))
        with customer.metering() as stream:
            stream.deploy()
            meters = []
            for name, (zone, changes) in TYPES.items():
                kind = customer.add_type(name=name, timezone=zone, resetSchedule=make_schedule(**changes))
                meters.append(stream.add_meter(kind))
            for month in range(36):
                # No schedule above names a time near this one, however long the sending takes.
                day = date(year + month // 12, month % 12 + 1, chance.randint(2, 28))
                at = datetime(day.year, day.month, day.day, chance.randint(0, 23), 20, tzinfo=UTC)
                customer.set_clock(at)
                sent = [(chance.choice(meters), Decimal(chance.randint(-999, 99_999)).scaleb(-2)) for _ in range(30)]
                stream.send(*({"userId": meter["userId"], "value": str(value)} for meter, value in sent))
                customer.settle()
                used += [(meter["id"], at, value) for meter, value in sent]
            customer.set_clock(datetime(year + 3, 1, 1, 12, 20, tzinfo=UTC))
            customer.settle()
            yield customer, stream, meters, used


@pytest.fixture(scope="module")
def statements(walked):
    customer, _, meters, _ = walked
    return {meter["id"]: customer.periods(meter) for meter in meters}


def test_every_period_has_one_statement_and_ends_where_the_clocks_say(walked, statements):
    customer, _, meters, _ = walked
    until = customer.now()
    for meter in meters:
        zone, changes = TYPES[meter["meterTypeName"]]
        created = parse(meter["createdAt"])
        expected = [created, *ends(zone, make_schedule(**changes), created, until)]
        found = [(parse(period["periodStart"]), parse(period["periodEnd"])) for period in statements[meter["id"]]]
        assert found == list(pairwise(expected)), meter["meterTypeName"]
        assert parse(customer.meter(meter)["periodStart"]) == expected[-1]
    assert sum(map(len, statements.values())) > 3_000


def test_each_period_counts_what_was_used_in_it_and_all_is_counted(walked, statements):
    customer, _, meters, used = walked
    for meter in meters:
        own = [(at, value) for meter_id, at, value in used if meter_id == meter["id"]]
        for period in statements[meter["id"]]:
            start, end = parse(period["periodStart"]), parse(period["periodEnd"])
            within = [value for at, value in own if start <= at < end]
            assert (period["value"], period["recordCount"]) == (sum(within), len(within))
        total = sum(period["value"] for period in statements[meter["id"]])
        assert total + Decimal(str(customer.meter(meter)["value"])) == sum(value for _, value in own)


def test_the_feed_and_the_streams_output_have_each_period_once(walked, statements):
    customer, stream, _, _ = walked
    stated = sorted((period["id"], period["periodStart"]) for periods in statements.values() for period in periods)
    feed = customer.records()
    assert sorted((one["record"]["id"], one["record"]["periodStart"]) for one in feed) == stated
    assert [int(one["cursor"]) for one in feed] == list(range(1, len(feed) + 1))
    assert sorted((one["id"], one["periodStart"]) for one in stream.outputs("resets")) == stated


def test_the_chains_verify_and_one_changed_digit_is_named(walked, statements, tmp_path):
    customer, _, meters, _ = walked
    names = []
    for meter in meters:
        path = f"/usage-metering/v1/meters/{meter['id']}/periods"
        for skip in range(0, len(statements[meter["id"]]), 100):
            page = tmp_path / f"{meter['id']}-{skip}.json"
            page.write_bytes(customer.get(path, limit=100, skip=skip).content)
            names.append(str(page))
    lines, right = verify_files(names)
    assert right, lines
    assert len(lines) == len(meters) + 1
    changed = statements[meters[4]["id"]][150]
    page = tmp_path / f"{meters[4]['id']}-100.json"
    before, start, after = page.read_text().partition(f'"periodStart":"{changed["periodStart"]}"')
    page.write_text(before + start + after.replace('"recordCount":', '"recordCount":1', 1))
    lines, right = verify_files(names)
    assert not right
    [wrong] = [line for line in lines if "WRONG" in line]
    assert f"{changed['periodStart']} to {changed['periodEnd']}" in wrong
