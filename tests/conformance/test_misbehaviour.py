"""One answer of the server is altered on its way: the check of it fails, by name, and most others do not."""

import json
import re
from dataclasses import replace

import pytest

from meterhouse.conformance.command import check_conformance

pytestmark = pytest.mark.odd_requests("the check sends bad events beside good ones")

TYPES, METERS = "/usage-metering/v1/meter-types", "/usage-metering/v1/meters"
COLLECTORS, STREAMS = "/online-collection/v1/collectors", "/stream-management/v1/streams"
ONE = "/[^/]+"


def drop(*names):
    def change(answered):
        answered.put({name: value for name, value in answered.json().items() if name not in names})

    return change


def put(**members):
    def change(answered):
        answered.put(answered.json() | members)

    return change


def status(number):
    def change(answered):
        answered.status = number

    return change


def header(name, value):
    def change(answered):
        answered.headers = {n: v for n, v in answered.headers.items() if n.lower() != name.lower()}
        if value is not None:
            answered.headers[name] = value

    return change


def text(old, new):
    def change(answered):
        assert old.encode() in answered.body
        answered.body = answered.body.replace(old.encode(), new.encode())

    return change


def no_content(answered):
    answered.status, answered.body = 204, b""


def first_row(**members):
    def change(answered):
        body = answered.json()
        if body.get("data"):
            body["data"][0] |= members
        answered.put(body)

    return change


ALTERATIONS = [
    # part, method, path, only answers with this status, what is done, operation and behaviour of a check that fails
    (
        "meter-types",
        "POST",
        "/authentication/v1/oauth/token",
        200,
        put(expires_in=3599),
        "create_access_token",
        "as JSON",
    ),
    (
        "meter-types",
        "POST",
        "/authentication/v1/oauth/token",
        401,
        put(error="invalid_client"),
        "create_access_token",
        "a wrong secret",
    ),
    (
        "meter-types",
        "POST",
        "/authentication/v1/oauth/token",
        401,
        status(403),
        "create_access_token",
        "a wrong audience",
    ),
    ("meter-types", "GET", "/.well-known/jwks.json", 200, put(keys=[]), "create_access_token", "the token is signed"),
    ("meter-types", "POST", TYPES, 201, drop("category"), "create_meter_type", "what is left out has its default"),
    ("meter-types", "POST", TYPES, 201, put(surprise=1), "create_meter_type", "every member that was sent"),
    ("meter-types", "POST", TYPES, 201, status(200), "create_meter_type", "what is left out has its default"),
    ("meter-types", "POST", TYPES, 400, drop("details"), "create_meter_type", "named: timezone"),
    ("meter-types", "POST", TYPES, 400, status(422), "create_meter_type", "name is required"),
    ("meter-types", "GET", TYPES, 200, put(total=1), "list_meter_types", "part of a name"),
    ("meter-types", "PATCH", TYPES + ONE, 409, status(200), "update_meter_type", "a name that is taken"),
    ("meter-types", "DELETE", TYPES + ONE, 200, no_content, "delete_meter_type", "tells how many"),
    ("meters", "POST", METERS, 201, drop("periodEnd"), "create_meter", "takes over what its type has"),
    ("meters", "POST", METERS, 201, put(periodEnd="2126-01-01T00:00:00.000Z"), "create_meter", "its first period"),
    ("meters", "GET", METERS, 200, put(meters=[]), "list_meters", "filters combine"),
    ("meters", "PATCH", METERS + ONE, 200, put(deleteOnReset=False), "update_meter", "are replaced"),
    ("meters", "DELETE", TYPES + ONE, 409, status(200), "delete_meter_type", "while there are meters"),
    ("collectors", "GET", COLLECTORS, 200, drop("total"), "list_collectors", "is a page"),
    ("collectors", "POST", COLLECTORS + ONE + "/send", 202, status(200), "send_data", "an object is taken"),
    ("collectors", "POST", COLLECTORS + ONE + "/send", 413, status(400), "send_data", "more than a mebibyte"),
    ("collectors", "POST", COLLECTORS, 409, status(400), "create_collector", "at most five"),
    ("streams", "GET", STREAMS + ONE + "/export", 200, put(nodes=[]), "export_stream", "is what was imported"),
    (
        "streams",
        "GET",
        STREAMS + ONE + "/versions",
        200,
        put(versions=[]),
        "list_stream_versions",
        "an import is a version",
    ),
    ("streams", "GET", "/aggregation/.*", 404, status(200), "lookup_aggregation_session", "an unknown session"),
    ("streams", "GET", METERS + ONE, 200, put(value=0.30000000000000004), "get_meter", "is 0.3"),
    (
        "bucket-meters",
        "GET",
        "/v1/metering",
        401,
        header("content-type", "application/json"),
        "list_buckets",
        "without credentials",
    ),
    ("bucket-meters", "POST", "/v3/.*/meters", 201, status(200), "create_bucket_meter", "Zuplo: every member"),
    ("bucket-meters", "GET", "/v3/.*", 404, drop("trace"), "get_bucket_meter", "Zuplo: an unknown slug"),
    (
        "bucket-meters",
        "POST",
        "/api/v1/meters",
        400,
        drop("extensions"),
        "create_bucket_meter",
        "OpenMeter: refused, named: the slug",
    ),
    (
        "bucket-meters",
        "PUT",
        "/api/v1/meters/.*",
        200,
        put(description=None),
        "update_bucket_meter",
        "OpenMeter: replaces",
    ),
    (
        "bucket-meters",
        "GET",
        "/api/v1/meters/.*",
        200,
        header("ratelimit-policy", None),
        "get_bucket_meter",
        "OpenMeter: by its id",
    ),
    ("events", "POST", "/api/v1/events", 204, status(200), "ingest_events", "OpenMeter: application/cloudevents+json"),
    ("events", "POST", "/v3/.*/events", 200, put(duplicates=0), "ingest_events", "Zuplo: the same event again"),
    (
        "events",
        "POST",
        "/v3/.*/events",
        400,
        text("events[1].time", "time"),
        "ingest_events",
        "Zuplo: a bad event in a batch",
    ),
    (
        "usage",
        "GET",
        "/api/v1/meters/.*/query",
        200,
        text("0.3", "0.30000000000000004"),
        "query_bucket_meter",
        "OpenMeter: filterGroupBy",
    ),
    (
        "usage",
        "GET",
        "/v3/.*/query",
        200,
        first_row(windowEnd="2024-03-31T01:00:00+01:00"),
        "query_bucket_meter",
        "Zuplo: days of a zone",
    ),
    (
        "usage",
        "GET",
        "/v3/.*/query",
        200,
        header("content-type", "text/csv; charset=utf-8"),
        "query_bucket_meter",
        "Zuplo: Accept: text/csv",
    ),
    (
        "usage",
        "GET",
        "/v3/.*/values",
        200,
        text("now", "then"),
        "list_bucket_meter_group_by_values",
        "Zuplo: values of a group",
    ),
]


@pytest.fixture(scope="package")
def limited(start_api, worker):
    """Limits are on, so that answers carry their headers, and too high to be met."""
    high = {"requests": 100_000, "window_seconds": 1, "burst": 100_000}
    changes = ("create_collector", "update_collector", "delete_collector", "failed_login")
    return start_api(METERHOUSE_RATE_LIMITS=json.dumps(dict.fromkeys(changes, high)))


@pytest.fixture(scope="package")
def target(limited, make_target):
    return make_target(limited.base_url)


def checked(target, proxy, part):
    return check_conformance(replace(target, base_url=proxy.url), [part])


@pytest.mark.parametrize(
    "alteration", ALTERATIONS, ids=[f"{one[0]}: {one[5]}: {one[6]} ({place})" for place, one in enumerate(ALTERATIONS)]
)
def test_the_check_of_an_altered_answer_fails_by_name(alteration, limited, target, make_proxy):
    part, method, path, only_status, change, operation, behaviour = alteration
    altered = []

    def alter(asked, asked_path, answered):
        fits = asked == method and re.fullmatch(path, asked_path) and answered.status == only_status
        if fits and _applies(change, answered):
            altered.append(asked_path)

    report = checked(target, make_proxy(limited.base_url, alter), part)
    assert altered
    assert not report.conforms
    failed = [one for one in report.results if one.outcome == "fail"]
    named = [one for one in failed if one.rule.operation == operation and behaviour in one.rule.behaviour]
    assert named, report.as_table()
    assert len(failed) < report.count("pass"), "one bad answer does not spoil the others"
    whole = report.as_table()[report.as_table().index("\nFAIL ") :]
    assert f"FAIL {operation}: {named[0].rule.behaviour}" in whole
    assert named[0].rule.source in whole


def _applies(change, answered):
    before = (answered.status, dict(answered.headers), answered.body)
    try:
        change(answered)
    except AssertionError:
        return False
    return before != (answered.status, answered.headers, answered.body)


def test_a_429_that_does_not_say_when_to_come_back_is_a_failure(limited, target, make_proxy):
    refused = []

    def alter(method, path, answered):
        if path == TYPES and not refused:
            refused.append(path)
            answered.status, answered.body = 429, b"{}"

    report = checked(target, make_proxy(limited.base_url, alter), "meter-types")
    failed = [one.rule.behaviour for one in report.results if one.outcome == "fail"]
    assert "429 says in Retry-After when to come back" in failed


def test_what_cannot_be_cleaned_up_is_told(limited, target, make_proxy):
    def alter(method, path, answered):
        if method == "DELETE" and path.startswith(METERS):
            answered.status = 503

    report = checked(target, make_proxy(limited.base_url, alter), "meters")
    assert any(one.rule.operation == "(cleaning up)" and one.outcome == "fail" for one in report.results)


def test_an_answer_without_an_id_ends_its_part_alone(limited, target, make_proxy):
    def alter(method, path, answered):
        if (method, path) == ("POST", METERS) and answered.status == 201:
            answered.put(drop_id(answered.json()))

    def drop_id(body):
        return {name: value for name, value in body.items() if name != "id"}

    proxy = make_proxy(limited.base_url, alter)
    report = check_conformance(replace(target, base_url=proxy.url, api_key=None), ["meters", "meter-types"])
    ended = [one.rule.operation for one in report.results if "the rest of this part" in one.rule.behaviour]
    assert ended == ["meters"]
    assert any(one.rule.operation == "update_meter_type" and one.outcome == "pass" for one in report.results)
