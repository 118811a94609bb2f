"""Portal tokens: one subject's view of its own usage."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from .make import JSON, add_customer, add_meter, by_subject, ingest, instant, make_events, refused


@pytest.fixture
def usage(bucket):
    add_meter(bucket.openmeter, groupBy={"model": "$.model"})
    add_meter(bucket.openmeter, slug="calls", aggregation="COUNT")
    for subject, value in (("alice", 1), ("bob", 10)):
        ingest(bucket.openmeter, *make_events(value, subject=subject))
    return bucket


def make_token(bucket, **changes):
    response = bucket.openmeter.post("/portal/tokens", json={"subject": "alice"} | changes)
    assert response.status_code == 200, response.text
    return response.json()


def as_bearer(bucket, path, token, **params):
    """A request that carries nothing but the token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(bucket.root.base_url.join(path), params=params, headers=headers, timeout=30)


def portal(bucket, token, slug="usage", **params):
    return as_bearer(bucket, f"/api/v1/portal/meters/{slug}/query", token, **params)


def part_of(token, number):
    part = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def spelled(*parts):
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def test_a_token_tells_its_subject_and_end(bucket):
    made = make_token(bucket)
    assert made["subject"] == "alice"
    end = instant(made["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < end < timedelta(minutes=61)


def test_a_token_is_a_signed_jwt_of_openmeter(bucket):
    token = make_token(bucket)["token"]
    assert part_of(token, 0)["alg"] == "HS256"
    assert part_of(token, 1)["iss"] == "openmeter"


def test_a_token_sees_only_its_subject(usage):
    response = portal(usage, make_token(usage)["token"])
    assert response.status_code == 200, response.text
    assert by_subject(response.json()["data"]) == {"alice": 1}


@pytest.mark.odd_requests("a subject of its own has no place in it")
@pytest.mark.parametrize(
    "params", [{"subject": "bob"}, {"subject": ["bob", "alice"]}, {"groupBy": "subject"}, {"windowSize": "DAY"}]
)
def test_a_token_cannot_be_talked_into_another_subject(usage, params):
    rows = portal(usage, make_token(usage)["token"], **params).json()["data"]
    assert by_subject(rows) == {"alice": 1}


@pytest.mark.odd_requests("filters that have no place in it")
def test_customer_and_advanced_filters_are_dropped(usage):
    customer = add_customer(usage.openmeter, usageAttribution={"subjectKeys": ["bob"]})["id"]
    dropped = {"filterCustomerId": customer, "advancedMeterGroupByFilters": '{"model": {"$eq": "other"}}'}
    response = portal(usage, make_token(usage)["token"], **dropped)
    assert by_subject(response.json()["data"]) == {"alice": 1}


def test_other_parameters_work_as_ever(usage):
    token = make_token(usage)["token"]
    assert portal(usage, token, groupBy="model").json()["data"][0]["groupBy"] == {"model": ""}
    assert portal(usage, token, to="2025-01-15T10:00:00Z").json()["data"] == []
    refused(portal(usage, token, groupBy="foo"))
    refused(portal(usage, token, "nothing"), 404)


def test_a_token_may_be_held_to_some_meters(usage):
    token = make_token(usage, allowedMeterSlugs=["calls"])["token"]
    assert portal(usage, token, "calls").json()["data"][0]["value"] == 1
    assert portal(usage, token, "usage").status_code in (401, 403, 404)


def test_an_empty_list_of_meters_is_refused(usage):
    refused(usage.openmeter.post("/portal/tokens", json={"subject": "alice", "allowedMeterSlugs": []}))


def test_an_unknown_meter_in_the_list_is_not_found(usage):
    body = {"subject": "alice", "allowedMeterSlugs": ["usage", "nothing"]}
    refused(usage.openmeter.post("/portal/tokens", json=body), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"subject": ""},
        {"subject": 5},
        {"subject": None},
        [],
        {"subject": "a", "expiresAt": "x"},
        {"subject": "a", "allowedMeterSlugs": "usage"},
    ],
)
def test_a_bad_request_is_refused(shared, body):
    refused(shared.openmeter.post("/portal/tokens", json=body))


@pytest.mark.parametrize("text", ["\u0000", "\ud800", "'", "UPPER", "", "x" * 5_000])
@pytest.mark.parametrize("name", ["subject", "allowedMeterSlugs"])
def test_an_odd_text_never_breaks(shared, name, text):
    body = {"subject": "alice"} | {name: [text] if name == "allowedMeterSlugs" else text}
    answer = shared.openmeter.post("/portal/tokens", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (200, 400, 404)


def test_a_token_lives_as_long_as_asked(usage):
    token = make_token(usage, expiresAt=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())["token"]
    time.sleep(2.1)
    refused(portal(usage, token), 401)


def test_a_token_that_is_none_is_refused(usage):
    head, body, signature = make_token(usage)["token"].split(".")
    claims = part_of(f"{head}.{body}", 1)
    forged = spelled(claims | {"sub": "bob", "subject": "bob"})
    unsigned = spelled({"alg": "none", "typ": "JWT"}, claims)
    flipped = ("B" if signature[0] != "B" else "C") + signature[1:]
    for token in (
        "x",
        "a.b.c",
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}.{body}.{flipped}",
        f"{head}.{forged}.{signature}",
        f"{unsigned}.",
    ):
        refused(portal(usage, token), 401)


def test_without_a_token_nothing_is_shown(usage):
    refused(httpx.get(usage.root.base_url.join("/api/v1/portal/meters/usage/query")), 401)


@pytest.mark.parametrize(
    "path", ["/api/v1/meters", "/api/v1/meters/usage/query", "/api/v1/events", "/api/v1/customers", "/v1/metering"]
)
def test_a_token_opens_nothing_else(usage, path):
    refused(as_bearer(usage, path, make_token(usage)["token"]), 401)


def test_a_token_belongs_to_its_bucket(usage, make_bucket):
    other = make_bucket()
    add_meter(other.openmeter, slug="elsewhere", aggregation="COUNT")
    refused(portal(usage, make_token(usage)["token"], "elsewhere"), 404)


def test_tokens_cannot_be_listed_or_invalidated(shared):
    refused(shared.openmeter.get("/portal/tokens"), 501)
    refused(shared.openmeter.post("/portal/tokens/invalidate", json={}), 501)
