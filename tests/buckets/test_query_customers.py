"""filterCustomerId: the usage of customers, that is of their key and their subjects."""

import pytest

from .make import MISSING, add_customer, add_meter, ingest, make_events, query, query_by_body, refused


@pytest.fixture
def usage(bucket):
    """A sum with one event for each of four subjects, worth 1, 10, 100 and 1000."""
    add_meter(bucket.openmeter, groupBy={"model": "$.model"})
    for place, subject in enumerate(("acme", "acme-web", "acme-app", "stranger")):
        ingest(bucket.openmeter, *make_events(10**place, subject=subject))
    return bucket


@pytest.fixture
def acme(usage):
    return add_customer(usage.openmeter, key="acme", usageAttribution={"subjectKeys": ["acme-web", "acme-app"]})["id"]


def by_customer(rows):
    return {row["customerId"]: row["value"] for row in rows}


@pytest.fixture(params=["seed", "openmeter"])
def client(request, usage):
    return usage.mount(request.param)


def test_a_customer_uses_what_its_key_and_subjects_use(client, acme):
    [row] = query(client, filterCustomerId=acme)
    assert (row["customerId"], row["value"], row["subject"], row["groupBy"]) == (acme, 111, None, {})


def test_customers_are_filtered_by_body(client, acme):
    assert query_by_body(client, filterCustomerId=[acme]) == query(client, filterCustomerId=acme)


def test_several_customers_are_a_row_each(client, usage, acme):
    other = add_customer(usage.openmeter, usageAttribution={"subjectKeys": ["stranger"]})["id"]
    assert by_customer(query(client, filterCustomerId=[other, acme])) == {acme: 111, other: 1000}


def test_the_group_may_be_named_beside_the_filter(client, acme):
    assert by_customer(query(client, filterCustomerId=acme, groupBy="customer_id")) == {acme: 111}


def test_customer_and_subject_are_two_groups(client, acme):
    rows = query(client, filterCustomerId=acme, groupBy="subject")
    assert [(row["customerId"], row["subject"], row["value"]) for row in rows] == [
        (acme, "acme", 1),
        (acme, "acme-app", 100),
        (acme, "acme-web", 10),
    ]


def test_customer_and_subject_filters_meet(client, acme):
    rows = query(client, filterCustomerId=acme, subject=["acme-web", "stranger"])
    assert [(row["customerId"], row["subject"], row["value"]) for row in rows] == [(acme, "acme-web", 10)]


def test_a_subject_of_nobody_has_no_row(client, acme):
    assert query(client, filterCustomerId=acme, subject="stranger") == []


def test_a_customer_stands_beside_windows(client, usage, acme):
    ingest(usage.openmeter, *make_events(5, subject="acme", time="2025-01-16T10:00:00Z"))
    assert [row["value"] for row in query(client, filterCustomerId=acme, windowSize="DAY")] == [111, 5]


def test_a_customer_without_subjects_has_no_row(client, usage):
    nobody = add_customer(usage.openmeter, usageAttribution=MISSING)["id"]
    assert query(client, filterCustomerId=nobody) == []


def test_an_unknown_customer_is_not_found(client, acme):
    unknown = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
    refused(client.get("/meters/usage/query", params={"filterCustomerId": [acme, unknown]}), 404)
    refused(client.post("/meters/usage/query", json={"filterCustomerId": [unknown]}), 404)


def test_a_customer_of_another_bucket_is_not_found(client, make_bucket):
    foreign = add_customer(make_bucket().openmeter)["id"]
    refused(client.get("/meters/usage/query", params={"filterCustomerId": foreign}), 404)


def test_the_customer_group_needs_the_filter(client):
    refused(client.get("/meters/usage/query", params={"groupBy": "customer_id"}))
    refused(client.post("/meters/usage/query", json={"groupBy": ["customer_id"]}))


def test_more_than_a_hundred_customers_are_refused(client, acme):
    refused(client.get("/meters/usage/query", params={"filterCustomerId": [acme] * 101}))
    refused(client.post("/meters/usage/query", json={"filterCustomerId": [acme] * 101}))


@pytest.mark.parametrize("text", ["\u0000", "", "'", "x" * 5_000])
def test_an_odd_customer_never_breaks(client, text):
    assert client.get("/meters/usage/query", params={"filterCustomerId": text}).status_code in (400, 404)


def test_subjects_follow_the_customer_of_today(client, usage, acme):
    body = {"name": "Acme", "key": "acme", "usageAttribution": {"subjectKeys": ["stranger"]}}
    assert usage.openmeter.put(f"/customers/{acme}", json=body).status_code == 200
    assert by_customer(query(client, filterCustomerId=acme)) == {acme: 1001}
