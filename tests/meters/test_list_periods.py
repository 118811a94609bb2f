"""Statements of closed periods, and the hash that each carries."""

import hashlib
import json
from decimal import Decimal
from itertools import pairwise

import pytest

from tests.tenants import make_tenant, paths_of, refused
from tests.usage_engine import exact, make_schedule, ok

DAILY = make_schedule(day="*")
UNKNOWN = "645ed240-02b5-400c-9a3c-21857e8f2ac4"


def path_of(meter):
    return f"/usage-metering/v1/meters/{meter['id']}/periods"


def listed(customer, meter, **params):
    answer = ok(customer.get(path_of(meter), **params))
    assert answer.keys() == {"periods"}
    return answer["periods"]


@pytest.fixture(scope="module", autouse=True)
def morning(customer):
    customer.wait_for_morning()


@pytest.fixture(scope="module")
def closed(customer):
    """A meter with 27 closed days."""
    meter = customer.add_meter(customer.add_type(resetSchedule=DAILY))
    customer.advance(days=27)
    customer.settle()
    return meter


def test_periods_are_listed_oldest_first_25_at_a_time(customer, closed):
    everything = listed(customer, closed, limit=100)
    assert len(everything) == 27
    assert everything[0]["periodStart"] == closed["createdAt"]
    assert everything == sorted(everything, key=lambda period: period["periodStart"])
    assert listed(customer, closed) == everything[:25]
    assert listed(customer, closed, limit="3", skip="2") == everything[2:5]
    assert listed(customer, closed, skip=27) == []


def test_adjacent_periods_touch_and_are_chained(customer, closed):
    everything = listed(customer, closed, limit=100)
    assert everything[0]["previousHash"] is None
    for before, after in pairwise(everything):
        assert after["periodStart"] == before["periodEnd"]
        assert after["previousHash"] == before["hash"]


def test_a_meter_without_a_closed_period_has_none(customer):
    assert listed(customer, customer.add_meter(customer.add_type())) == []


def test_the_periods_of_a_deleted_meter_can_still_be_fetched(customer):
    meter = customer.add_meter(customer.add_type(resetSchedule=DAILY))
    customer.advance(days=2)
    customer.settle()
    before = listed(customer, meter)
    ok(customer.client.delete(f"/usage-metering/v1/meters/{meter['id']}"))
    assert listed(customer, meter) == before
    assert len(before) == 2
    assert listed(customer, meter, skip=2) == []


def test_where_there_is_neither_meter_nor_period_there_is_nothing(sandbox, customer, closed):
    refused(customer.get(path_of({"id": UNKNOWN})), 404)
    gone = customer.add_meter(customer.add_type())
    ok(customer.client.delete(f"/usage-metering/v1/meters/{gone['id']}"))
    refused(customer.get(path_of(gone)), 404)
    with sandbox.open_customer() as stranger:
        refused(stranger.get(path_of(closed)), 404)
    assert paths_of(refused(customer.get(path_of({"id": "x"})), 400)) == ["id"]


@pytest.mark.parametrize(("name", "value"), [("limit", "101"), ("limit", "0"), ("skip", "-1"), ("skip", "x")])
def test_a_bad_page_is_refused_by_name(customer, closed, name, value):
    assert paths_of(refused(customer.get(path_of(closed), **{name: value}), 400)) == [name]


def test_it_needs_the_scope_of_reading_meters(sandbox, closed):
    with make_tenant(sandbox.installation, sandbox.api.base_url, "read:meter_types").client() as client:
        refused(client.get(path_of(closed)), 401)


# --- the hash ---------------------------------------------------------------------------------------------------------


def written(value):
    """The recipe of the README, written down once more."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(name)}:{written(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    if isinstance(value, Decimal):
        whole, _, fraction = f"{value:f}".partition(".")
        fraction = fraction.rstrip("0")
        text = f"{whole}.{fraction}" if fraction else whole
        return "0" if text == "-0" else text
    return json.dumps(value, ensure_ascii=False)


def rehash(period):
    text = written({name: value for name, value in period.items() if name != "hash"})
    return hashlib.sha256(text.encode()).hexdigest()


NASTY = """
{
  "price": 0.10, "thousand": 1e3, "tiny": 1E-9, "minus": -0.0, "zero": 0.000, "half": 2.50, "big": 123456789012345678901234567890,
  "exact": 0.1234567890123456789012345678901234567890, "huge": 1e300,
  "text": "quote \\" backslash \\\\ slash / tab \\t bell \\u0007 delete \\u007f é 日本 \\u2028 😀 \\uD83D\\uDE00",
  "nested": {"z": [1.0, {"b": null, "a": [true, false, []]}], "ä": {}, "": "no name"},
  "😀": 1, "￿": 2, "A": 3, "a": 4, "10": 5, "9": 6, "hash": "of its own", "1E-9": "1E+3"
}
"""


def test_every_answer_hashes_to_what_it_says(customer):
    """Whatever database and encoders do to numbers, texts and the order of members."""
    fields = ("price", "tiny", "nested", "text", "😀")
    carries = [{"field": field, "operation": way} for field in fields for way in ("carry-first", "carry-last")]
    rule = {"ignoreCondition": True, "matchCategory": "DEFAULT", "groupBy": [{"fields": ["text", "thousand"]}]}
    with customer.metering(guidingRules=[rule | {"otherOperations": carries}]) as stream:
        stream.deploy()
        kind = customer.add_type(resetSchedule=DAILY)
        thresholds = [{"name": "half", "capacityPercentage": 0.50, "customFields": {}}]
        body = (
            f'{{"meterKey":"{stream.meter_key}","userId":"u\\u00e9\\"😀","meterTypeId":"{kind["id"]}",'
            f'"customFields":{NASTY}}}'
        )
        made = customer.client.post("/usage-metering/v1/meters", content=body.encode())
        assert made.status_code == 201, made.text
        meter = made.json()
        for capacity in ("1e2", "0.0000001", "100.00"):
            path = f"/usage-metering/v1/meters/{meter['id']}"
            patch = f'{{"capacity":{capacity},"thresholds":{json.dumps(thresholds)}}}'
            assert customer.client.patch(path, content=patch).status_code == 200
            for value in ('"0.10"', "1e3", '"-1E-9"', "123456789012345678901234567890"):
                nasty = NASTY.strip().removeprefix("{").replace("\n", " ")
                stream.send(f'{{"userId":"ué\\"😀","value":{value},{nasty}')
            customer.settle()
            customer.advance(days=1)
            customer.settle()
        assert stream.rejected() == []
        answer = customer.get(path_of(meter))
        periods = exact(answer.text)["periods"]
        assert [period["recordCount"] for period in periods] == [4, 4, 4]
        assert [rehash(period) for period in periods] == [period["hash"] for period in periods]
        assert periods[0]["customFields"] == exact(NASTY)
        assert periods[0]["carryFirst"]["nested"] == exact(NASTY)["nested"]
        # Values are never spelled with an exponent or with zeros that say nothing.
        own = answer.text.partition('"customFields"')[0]
        assert '"value":123456789012345678901234568890.099999999,' in own
        assert '"capacity":0.0000001,' in answer.text
        assert '"capacity":100,' in answer.text


@pytest.mark.parametrize("member", ["value", "periodEnd", "customFields", "recordCount", "previousHash", "closedAt"])
def test_another_content_has_another_hash(customer, closed, member):
    period = exact(customer.get(path_of(closed)).text)["periods"][1]
    assert rehash(period) == period["hash"]
    assert rehash(period | {member: "x"}) != period["hash"]
