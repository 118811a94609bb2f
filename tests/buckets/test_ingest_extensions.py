"""Extension attributes and data are given back as they came."""

import json
from decimal import Decimal

import pytest

from .make import JSON, ago, ingest, make_event


def listed(client):
    response = client.get("/events")
    assert response.status_code == 200, response.text
    [one] = json.loads(response.text, parse_float=Decimal)
    return one["event"]


@pytest.mark.parametrize("value", ["sub-1", "", 7, -1, True, False, "2025-01-01T00:00:00Z", "Åsa"])
def test_an_extension_is_given_back(bucket, value):
    ingest(bucket.seed, make_event(time=ago(hours=1), subscription="sub-1", traceparent=value))
    event = listed(bucket.openmeter)
    assert (event["subscription"], event["traceparent"]) == ("sub-1", value)


def test_an_event_is_given_back_whole(bucket):
    sent = make_event(
        time=ago(hours=1),
        datacontenttype="application/json",
        dataschema="https://example.com/schema",
        data={"value": 1, "text": "a", "list": [1, "b", None, True], "object": {"c": {}}, "empty": ""},
    )
    ingest(bucket.openmeter, sent)
    given = listed(bucket.openmeter)
    assert {name: given[name] for name in sent if name != "time"} == {n: v for n, v in sent.items() if n != "time"}


@pytest.mark.parametrize(
    "number", ["1152921504606846977", "0.123456789012345678901234567890", "1.50", "-7", "1e3", "12345678901234567890.5"]
)
def test_a_number_in_data_keeps_its_digits(bucket, number):
    content = json.dumps(make_event(time=ago(hours=1), data={"value": "?"})).replace('"?"', number)
    assert bucket.openmeter.post("/events", content=content, headers=JSON).status_code == 204
    assert Decimal(listed(bucket.openmeter)["data"]["value"]) == Decimal(number)


def test_an_event_without_data_shows_none(bucket):
    ingest(bucket.openmeter, make_event(time=ago(hours=1), data=None))
    assert listed(bucket.openmeter).get("data") is None


def test_the_gateway_of_zuplo_can_send_its_events(bucket):
    event = {
        "type": "request",
        "id": "6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "specversion": "1.0",
        "source": "monetization-policy",
        "subject": "consumer-1",
        "data": {"total": 3},
        "subscription": "01JZXE5V5K3Q6Y6ZP3W8ZQZ0AB",
    }
    assert ingest(bucket.seed, event).json()["accepted"] == 1
    assert listed(bucket.openmeter)["subscription"] == event["subscription"]
