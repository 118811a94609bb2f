"""filterSubscription and groupBy=subscription: the extension attribute `subscription` of events, on the seed mount."""

import pytest

from .make import MISSING, add_meter, ingest, make_events, query, query_by_body, refused, values


@pytest.fixture
def subscribed(bucket):
    """Two subscriptions worth 11 and 100, and 1000 without one."""
    add_meter(bucket.seed)
    for value, subscription in ((1, "sub-1"), (10, "sub-1"), (100, "sub-2"), (1000, MISSING)):
        ingest(bucket.seed, *make_events(value, subscription=subscription))
    return bucket


def subscription_of(row):
    return row.get("subscription") or row["groupBy"].get("subscription") or ""


def test_a_subscription_is_filtered(subscribed):
    assert values(query(subscribed.seed, filterSubscription="sub-1")) == [11]


def test_several_subscriptions_are_filtered(subscribed):
    assert sum(values(query(subscribed.seed, filterSubscription=["sub-1", "sub-2"]))) == 111


def test_an_unknown_subscription_has_no_usage(subscribed):
    assert query(subscribed.seed, filterSubscription="sub-3") == []
    assert query(subscribed.seed, filterSubscription="sub") == []


def test_the_documented_body_is_understood(subscribed):
    body = {
        "filterSubscription": ["sub-1"],
        "from_": "2025-01-01T00:00:00Z",
        "to": "2025-12-31T23:59:59Z",
        "windowSize": "DAY",
    }
    rows = query_by_body(subscribed.seed, **body)
    assert [(row["value"], row["windowStart"][:10]) for row in rows] == [(11, "2025-01-15")]


def test_usage_is_grouped_by_subscription(subscribed):
    rows = query(subscribed.seed, groupBy="subscription")
    assert {subscription_of(row): row["value"] for row in rows} == {"": 1000, "sub-1": 11, "sub-2": 100}


def test_filter_and_group_stand_together(subscribed):
    rows = query(subscribed.seed, groupBy=["subscription", "subject"], filterSubscription=["sub-2", "sub-1"])
    found = [(subscription_of(row), row["subject"], row["value"]) for row in rows]
    assert found == [("sub-1", "alice", 11), ("sub-2", "alice", 100)]


def test_the_openmeter_mount_knows_no_such_group(subscribed):
    refused(subscribed.openmeter.get("/meters/usage/query", params={"groupBy": "subscription"}))


def test_on_the_openmeter_mount_a_meter_may_have_a_group_of_that_name(bucket):
    add_meter(bucket.openmeter, groupBy={"subscription": "$.plan"})
    ingest(bucket.openmeter, {**make_events(1, subscription="sub-1")[0], "data": {"value": 1, "plan": "gold"}})
    assert [row["groupBy"] for row in query(bucket.openmeter, groupBy="subscription")] == [{"subscription": "gold"}]


@pytest.mark.parametrize("text", ["\u0000", "", "'", "%", "x" * 5_000])
def test_an_odd_subscription_never_breaks(subscribed, text):
    response = subscribed.seed.get("/meters/usage/query", params={"filterSubscription": text})
    assert response.status_code in (200, 400)


@pytest.mark.parametrize("value", ["sub-1", 5, {}, [5]])
def test_a_filter_that_is_no_list_of_texts_is_refused(subscribed, value):
    refused(subscribed.seed.post("/meters/usage/query", json={"filterSubscription": value}))
