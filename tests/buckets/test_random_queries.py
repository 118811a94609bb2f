"""Random events and random queries, compared with a small reading of the rules in plain Python."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from zoneinfo import ZoneInfo

import pytest

from .make import add_meter, exact, ingest, instant, make_event

START = datetime(2025, 3, 1, tzinfo=UTC)
ZONES = ["UTC", "America/Los_Angeles", "Europe/Stockholm", "Asia/Kolkata"]
AGGREGATIONS = ["SUM", "COUNT", "AVG", "MIN", "MAX", "LATEST", "UNIQUE_COUNT"]
VALUES = [0, 1, 2, -3, 0.1, 0.2, 1.5, "4", "0.25", "x", "", None, True, 12345678901234567890]
MODELS = ["a", "b", "B", "", None, 5, True]


def make_random_events(dice, count):
    for number in range(count):
        time = START + timedelta(seconds=dice.randrange(60 * 86_400), microseconds=dice.choice((0, 1, 999_999)))
        data = {"value": dice.choice(VALUES), "model": dice.choice(MODELS), "kind": dice.choice("xy")}
        if dice.random() < 0.1:
            del data[dice.choice(["value", "model"])]
        yield make_event(id=str(number), subject=dice.choice("stu"), time=time.isoformat(), data=data)


def make_random_query(dice):
    asked = {"aggregation": dice.choice(AGGREGATIONS)}
    if dice.random() < 0.7:
        asked |= {"windowSize": dice.choice(["HOUR", "DAY", "MONTH"]), "windowTimeZone": dice.choice(ZONES)}
    if dice.random() < 0.5:
        asked["from"] = (START + timedelta(hours=dice.randrange(30 * 24))).isoformat()
    if dice.random() < 0.5:
        asked["to"] = (START + timedelta(days=30, minutes=dice.randrange(30 * 1440))).isoformat()
    if dice.random() < 0.4:
        asked["subject"] = dice.sample("stu", dice.choice((1, 2)))
    if dice.random() < 0.4:
        asked["filterGroupBy"] = {"model": dice.sample(["a", "b", "", "null", "5", "true"], 2)}
    asked["groupBy"] = dice.sample(["kind", "model", "subject"], dice.choice((0, 1, 2)))
    return asked


def text_of(value):
    return "null" if value is None else "true" if value is True else str(value)


def number_of(value):
    if isinstance(value, bool) or value in (None, "", "x"):
        return None
    return Decimal(str(value))


def window_of(time, size, zone):
    local = time.astimezone(zone)
    if size == "HOUR":  # none of the zones shifts by a part of an hour
        start = time - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return start, start + timedelta(hours=1)
    first = datetime(local.year, local.month, local.day if size == "DAY" else 1)
    after = first + timedelta(days=1) if size == "DAY" else (first + timedelta(days=31)).replace(day=1)
    return first.replace(tzinfo=zone).astimezone(UTC), after.replace(tzinfo=zone).astimezone(UTC)


def span_of(times, asked):
    first, last = (time.replace(second=0, microsecond=0) for time in (min(times), max(times)))
    return (
        instant(asked["from"]) if "from" in asked else first,
        instant(asked["to"]) if "to" in asked else last + timedelta(minutes=1),
    )


def aggregate(name, events):
    found = [event["data"].get("value") for event in events]
    if name == "COUNT":
        return Decimal(len(events))
    if name == "UNIQUE_COUNT":
        return Decimal(len({text_of(value) for value in found if value not in (None, "")})) or None
    numbers = [
        (instant(event["time"]), n, number_of(value))
        for n, (event, value) in enumerate(zip(events, found, strict=True))
    ]
    usable = [number for _, _, number in numbers if number is not None]
    if not usable:
        return None
    if name == "LATEST":
        return max(entry for entry in numbers if entry[2] is not None)[2]
    return {"SUM": sum, "MIN": min, "MAX": max, "AVG": lambda all_: sum(all_) / len(all_)}[name](usable)


def is_asked_for(event, texts, asked, *, inclusive):
    time = instant(event["time"])
    if "from" in asked and time < instant(asked["from"]):
        return False
    if "to" in asked and (time > instant(asked["to"]) or (time == instant(asked["to"]) and not inclusive)):
        return False
    models = asked.get("filterGroupBy", {}).get("model", [texts["model"]])
    return event["subject"] in asked.get("subject", "stu") and texts["model"] in models


def expected_rows(events, asked, *, inclusive):
    groups, by_subject = asked["groupBy"], "subject" in asked or "subject" in asked["groupBy"]
    keys = [key for key in groups if key != "subject"]
    cells = defaultdict(list)
    for event in events:
        time, data = instant(event["time"]), event["data"]
        texts = {key: text_of(data[key]) if key in data else "" for key in ("model", "kind")}
        if not is_asked_for(event, texts, asked, inclusive=inclusive):
            continue
        size = asked.get("windowSize")
        window = window_of(time, size, ZoneInfo(asked["windowTimeZone"])) if size else None
        cells[(window, event["subject"] if by_subject else None, tuple(texts[key] for key in keys))].append(event)
    rows = []
    for (window, subject, texts), inside in cells.items():
        value = aggregate(asked["aggregation"], inside)
        if value is not None:
            span = window or span_of([instant(event["time"]) for event in inside], asked)
            rows.append((*span, subject, dict(zip(keys, texts, strict=True)), value))
    return rows


def spelled(row):
    return (instant(row["windowStart"]), instant(row["windowEnd"]), row["subject"], row["groupBy"], row["value"])


def in_order(rows, digits):
    """In an order of their own, the values to the digits that both sides know."""
    cut = [(*row[:-1], Context(prec=digits).plus(row[-1])) for row in rows]
    return sorted(cut, key=lambda row: (row[0], str(row[2]), sorted(row[3].items())))


@pytest.fixture(scope="module")
def world(make_bucket):
    """300 events sent in random batches over both mounts, and a meter for each aggregation."""
    dice, made = random.Random(20_250_115), make_bucket()
    for aggregation in AGGREGATIONS:
        add_meter(
            made.seed, slug=aggregation.lower(), aggregation=aggregation, groupBy={"model": "$.model", "kind": "$.kind"}
        )
    events = list(make_random_events(dice, 300))
    rest = iter(events)
    while batch := [event for _, event in zip(range(dice.randrange(1, 40)), rest, strict=False)]:
        ingest(made.mount(dice.choice(["seed", "openmeter"])), *batch)
    return made, events


@pytest.mark.parametrize("number", range(60))
def test_a_random_query_finds_what_the_rules_find(world, number):
    made, events = world
    asked = make_random_query(random.Random(number))
    body = {name: value for name, value in asked.items() if name != "aggregation"}
    for mount in ("seed", "openmeter"):
        answer = exact(made.mount(mount).post(f"/meters/{asked['aggregation'].lower()}/query", json=body))
        expected = expected_rows(events, asked, inclusive=mount == "seed")
        digits = 15 if asked["aggregation"] == "AVG" else 28
        assert in_order(map(spelled, answer["data"]), digits) == in_order(expected, digits)
