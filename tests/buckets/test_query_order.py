"""Rows are ordered by window, subject, customer and group values, the same way every time."""

import itertools
import random

from .make import add_customer, add_meter, ingest, instant, make_event, query

TEXTS = ["", "A", "Z", "_", "a", "a b", "ab", "b", "null", "Å", "é", "🧮", "\uff5a"]


def make_shuffled(events):
    return random.Random(7).sample(events, len(events))


def test_groups_are_ordered_by_code_point(mount):
    add_meter(mount, aggregation="COUNT", groupBy={"key": "$.key"})
    ingest(mount, *make_shuffled([make_event(data={"key": text}) for text in TEXTS]))
    assert [row["groupBy"]["key"] for row in query(mount, groupBy="key")] == sorted(TEXTS)


def test_subjects_are_ordered_by_code_point(mount):
    subjects = [text for text in TEXTS if text]
    add_meter(mount, aggregation="COUNT")
    ingest(mount, *make_shuffled([make_event(subject=subject) for subject in subjects]))
    assert [row["subject"] for row in query(mount, groupBy="subject")] == sorted(subjects)


def test_windows_come_first_then_subjects_then_groups(mount):
    add_meter(mount, aggregation="COUNT", groupBy={"a": "$.a", "b": "$.b"})
    cases = itertools.product(("2025-01-15", "2025-01-16"), ("s1", "s2"), "xy", "pq")
    events = [make_event(time=f"{d}T10:00:00Z", subject=s, data={"a": a, "b": b}) for d, s, a, b in cases]
    ingest(mount, *make_shuffled(events))
    rows = query(mount, windowSize="DAY", groupBy=["a", "subject", "b"])
    keys = [(instant(row["windowStart"]), row["subject"], row["groupBy"]["a"], row["groupBy"]["b"]) for row in rows]
    assert len(keys) == 16
    assert keys == sorted(keys)


def test_customers_come_after_windows(bucket):
    add_meter(bucket.openmeter, aggregation="COUNT")
    customers = [add_customer(bucket.openmeter, usageAttribution={"subjectKeys": [name]})["id"] for name in "cab"]
    days = ("2025-01-16", "2025-01-15")
    ingest(bucket.openmeter, *(make_event(subject=s, time=f"{day}T10:00:00Z") for day in days for s in "abc"))
    rows = query(bucket.openmeter, windowSize="DAY", filterCustomerId=customers)
    keys = [(instant(row["windowStart"]), row["customerId"]) for row in rows]
    assert len(keys) == 6
    assert keys == sorted(keys)
