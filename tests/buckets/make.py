"""Data with good defaults for the tests of buckets, and the requests that nearly every test makes."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MISSING = object()
"""As a value: the member is left out."""

JSON = {"Content-Type": "application/json"}

_numbers = itertools.count(1)


def make_event(**changes):
    event = {
        "id": f"event-{next(_numbers)}",
        "source": "tests",
        "specversion": "1.0",
        "type": "request",
        "subject": "alice",
        "time": "2025-01-15T10:00:00Z",
        "data": {"value": 1},
    }
    return _without_missing(event | changes)


def make_events(*values, **changes):
    """One event for each value of data.value."""
    return [make_event(data={"value": value}, **changes) for value in values]


def make_meter(**changes):
    meter = {"slug": "usage", "aggregation": "SUM", "eventType": "request", "valueProperty": "$.value"}
    if changes.get("aggregation") == "COUNT":
        meter["valueProperty"] = MISSING
    return _without_missing(meter | changes)


def make_customer(**changes):
    number = next(_numbers)
    customer = {"name": f"Customer {number}", "usageAttribution": {"subjectKeys": [f"subject-{number}"]}}
    return _without_missing(customer | changes)


def _without_missing(members):
    return {name: value for name, value in members.items() if value is not MISSING}


def add_meter(client, **changes):
    response = client.post("/meters", json=make_meter(**changes))
    assert response.status_code == 201, response.text
    return response.json()


def add_customer(client, **changes):
    response = client.post("/customers", json=make_customer(**changes))
    assert response.status_code == 201, response.text
    return response.json()


def ingest(client, *events):
    response = client.post("/events", json=list(events))
    assert response.status_code in (200, 204), response.text
    return response


def receipt_of(client, *events, **params):
    """The full receipt of a batch, on either mount."""
    headers = {"Prefer": "return=representation"}
    response = client.post("/events", json=list(events), params=params, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def query(client, slug="usage", **params):
    """The rows of a query; `from_` stands for `from`."""
    response = client.get(f"/meters/{slug}/query", params=spelled(params))
    assert response.status_code == 200, response.text
    return response.json()["data"]


def query_by_body(client, slug="usage", **body):
    response = client.post(f"/meters/{slug}/query", json=spelled(body))
    assert response.status_code == 200, response.text
    return response.json()["data"]


def spelled(params):
    return {name.rstrip("_"): value for name, value in params.items()}


def values(rows):
    return [row["value"] for row in rows]


def by_subject(rows):
    return {row["subject"]: row["value"] for row in rows}


def by_group(rows, key):
    return {row["groupBy"][key]: row["value"] for row in rows}


def windows(rows):
    return [(instant(row["windowStart"]), instant(row["windowEnd"]), row["value"]) for row in rows]


def count_events(client):
    """How many events of the default type are counted, by a meter of its own."""
    client.post("/meters", json=make_meter(slug="every_event", aggregation="COUNT"))
    return sum(values(query(client, "every_event")))


def instant(text):
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None, text
    return moment.astimezone(UTC)


def ago(**delta):
    return (datetime.now(UTC) - timedelta(**delta)).isoformat().replace("+00:00", "Z")


def exact(response):
    """The JSON of a response with every number as a Decimal."""
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal, parse_int=Decimal)


def value_texts(response):
    """The values of a query as they are spelled in the response."""
    assert response.status_code == 200, response.text
    return re.findall(r'"value"\s*:\s*([^,}\s]+)', response.text)


def refused(response, status=400):
    """The problem of a refused request, its form checked."""
    assert response.status_code == status, f"{response.status_code} {response.text[:500]}"
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    return problem


def fields_of(problem):
    return [error["field"] for error in problem.get("extensions", {}).get("validationErrors", [])]


def assert_names(problem, field):
    """A validation error of the problem is about the field, or about something inside of it."""
    assert any(re.match(rf"{re.escape(field)}($|[.\[])", name) for name in fields_of(problem)), problem


def says(problem):
    """Everything a problem says, as one text."""
    errors = problem.get("extensions", {}).get("validationErrors", [])
    return "\n".join([problem["detail"], *(f"{error['field']}: {error['message']}" for error in errors)])
