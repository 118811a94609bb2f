"""POST /meters/{meterIdOrSlug}/query asks what GET asks."""

import pytest

from .make import JSON, add_meter, assert_names, ingest, make_event, make_events, refused


@pytest.fixture
def usage(mount):
    add_meter(mount, groupBy={"model": "$.model"})
    ingest(
        mount,
        *make_events(1, 2),
        make_event(subject="bob", time="2025-02-15T10:00:00Z", data={"value": 3, "model": "a"}),
    )
    return mount


@pytest.mark.parametrize("headers", [{}, JSON, {"Content-Type": "application/json; charset=utf-8"}])
def test_an_empty_body_asks_for_everything(usage, headers):
    response = usage.post("/meters/usage/query", content=b"", headers=headers)
    assert response.status_code == 200, response.text
    assert response.json() == usage.get("/meters/usage/query").json()


ASKED = [
    {},
    {"windowSize": "MONTH"},
    {"windowSize": "DAY", "windowTimeZone": "Asia/Tokyo"},
    {"from": "2025-02-01T00:00:00Z"},
    {"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"},
    {"subject": ["bob"]},
    {"groupBy": ["model", "subject"]},
    {"clientId": "client-1"},
]


@pytest.mark.parametrize("asked", ASKED)
def test_a_body_asks_what_parameters_ask(usage, asked):
    by_body = usage.post("/meters/usage/query", json=asked)
    assert by_body.status_code == 200, by_body.text
    assert by_body.json() == usage.get("/meters/usage/query", params=asked).json()


@pytest.mark.parametrize("content", [b"{", b"[]", b"5", b'"x"', b"{}x", b"\xff"])
def test_a_body_that_is_no_object_is_refused(usage, content):
    refused(usage.post("/meters/usage/query", content=content, headers=JSON))


BAD_MEMBERS = [
    ("from", 5),
    ("from", []),
    ("to", 5),
    ("to", {}),
    ("windowSize", 5),
    ("windowSize", ["DAY"]),
    ("windowTimeZone", 5),
    ("subject", "bob"),
    ("subject", [5]),
    ("subject", {"bob": 1}),
    ("filterCustomerId", "x"),
    ("filterCustomerId", [5]),
    ("groupBy", "model"),
    ("groupBy", [5]),
    ("groupBy", {}),
    ("clientId", 5),
    ("clientId", ""),
    ("clientId", "x" * 37),
    ("advancedMeterGroupByFilters", []),
    ("advancedMeterGroupByFilters", "x"),
]


@pytest.mark.parametrize(("field", "value"), BAD_MEMBERS)
def test_a_member_of_the_wrong_type_is_refused_by_name(usage, field, value):
    assert_names(refused(usage.post("/meters/usage/query", json={field: value})), field)


@pytest.mark.parametrize("name", ["", "x" * 37])
def test_a_client_id_has_1_to_36_characters(usage, name):
    refused(usage.get("/meters/usage/query", params={"clientId": name}))


def test_an_unknown_meter_is_not_found(mount):
    assert refused(mount.get("/meters/nothing/query"), 404)["detail"] == "not found error: meter not found: nothing"
    refused(mount.post("/meters/nothing/query", json={}), 404)


@pytest.mark.odd_requests("a parameter that nobody knows")
@pytest.mark.parametrize(
    "params", ["from=2025-01-01T00:00:00Z&from=2025-02-01T00:00:00Z", "windowSize=DAY&windowSize=HOUR", "unknown=1"]
)
def test_a_parameter_given_twice_or_unknown_never_breaks(usage, params):
    assert usage.get(f"/meters/usage/query?{params}").status_code in (200, 400)
