"""filterSubscription and groupBy=subscription: the extension attribute `subscription` of events."""

import pytest

from .make import MISSING, add_meter, ingest, make_event, make_events, query, query_by_body, refused, values


@pytest.fixture
def subscribed(mount):
    """Two subscriptions worth 11 and 100, and 1000 without one."""
    add_meter(mount)
    for value, subscription in ((1, "sub-1"), (10, "sub-1"), (100, "sub-2"), (1000, MISSING)):
        ingest(mount, *make_events(value, subscription=subscription))
    return mount


def subscription_of(row):
    return row.get("subscription") or row["groupBy"].get("subscription") or ""


def test_a_subscription_is_filtered(subscribed):
    assert values(query(subscribed, filterSubscription="sub-1")) == [11]


def test_several_subscriptions_are_filtered(subscribed):
    assert sum(values(query(subscribed, filterSubscription=["sub-1", "sub-2"]))) == 111


def test_an_unknown_subscription_has_no_usage(subscribed):
    assert query(subscribed, filterSubscription="sub-3") == []
    assert query(subscribed, filterSubscription="sub") == []


def test_the_documented_body_is_understood(subscribed):
    body = {
        "filterSubscription": ["sub-1"],
        "from_": "2025-01-01T00:00:00Z",
        "to": "2025-12-31T23:59:59Z",
        "windowSize": "DAY",
    }
    rows = query_by_body(subscribed, **body)
    assert [(row["value"], row["windowStart"][:10]) for row in rows] == [(11, "2025-01-15")]


def test_usage_is_grouped_by_subscription(subscribed):
    rows = query(subscribed, groupBy="subscription")
    assert {subscription_of(row): row["value"] for row in rows} == {"": 1000, "sub-1": 11, "sub-2": 100}


def test_filter_and_group_stand_together(subscribed):
    rows = query(subscribed, groupBy=["subscription", "subject"], filterSubscription=["sub-2", "sub-1"])
    found = [(subscription_of(row), row["subject"], row["value"]) for row in rows]
    assert found == [("sub-1", "alice", 11), ("sub-2", "alice", 100)]


@pytest.mark.parametrize(("mount_name", "expected"), [("seed", "sub-1"), ("openmeter", "gold")])
def test_the_name_is_reserved_only_on_the_seed_mount(bucket, mount_name, expected):
    client = bucket.mount(mount_name)
    add_meter(client, groupBy={"subscription": "$.plan"})
    ingest(client, make_event(subscription="sub-1", data={"value": 1, "plan": "gold"}))
    assert [subscription_of(row) for row in query(client, groupBy="subscription")] == [expected]


@pytest.mark.parametrize("text", ["\u0000", "", "'", "%", "x" * 5_000])
def test_an_odd_subscription_never_breaks(subscribed, text):
    response = subscribed.get("/meters/usage/query", params={"filterSubscription": text})
    assert response.status_code in (200, 400)


@pytest.mark.parametrize("value", [5, {}, [5]])
def test_a_filter_that_is_no_list_of_texts_is_refused(subscribed, value):
    refused(subscribed.post("/meters/usage/query", json={"filterSubscription": value}))
