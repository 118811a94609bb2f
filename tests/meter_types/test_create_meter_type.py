import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from tests.usage_engine import MISSING, ahead, at_once, created, exact, make_schedule, make_type, ok, refused, spelled

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")

FULL = {
    "activeFrom": "2199-07-26T09:00:15.690+00:00",
    "activeTo": "2199-11-22T00:00:00.000+00:00",
    "aggregation": {"type": "sum"},
    "capacity": 1000,
    "category": "API Counts",
    "description": "Counts the API requests\n\tof one customer",
    "externalRef": "878752b4-4ddf",
    "name": "Usage based API counter (v1.0) - all_of_it",
    "resetSchedule": {"day": "L", "hour": "0", "minute": "0", "month": "*", "weekday": "*"},
    "thresholds": [
        {"name": "half", "capacityPercentage": 50, "customFields": {"action": "EMAIL"}},
        {"name": "over", "capacityPercentage": 105.5, "customFields": {}},
        {"name": "fixed", "absoluteValue": 10, "customFields": {"z": 1, "a": "two", "n": None}},
    ],
    "timezone": "Europe/Stockholm",
    "unit": "requests",
}


def test_everything_that_was_sent_comes_back(account):
    meter_type = created(account.post("/meter-types", FULL))
    made = {name: meter_type.pop(name) for name in ("accountId", "createdAt", "id", "numberOfMeters", "updatedAt")}
    assert meter_type == FULL
    assert (made["accountId"], made["numberOfMeters"]) == (account.id, 0)
    assert UUID(made["id"]).version == 4


def test_what_was_not_sent_is_left_out_or_has_its_default(account):
    sent = make_type()
    meter_type = created(account.post("/meter-types", sent))
    made = {"accountId", "activeFrom", "category", "createdAt", "id", "numberOfMeters", "thresholds", "updatedAt"}
    assert meter_type.keys() == made | sent.keys()
    assert (meter_type["category"], meter_type["thresholds"]) == ("DEFAULT", [])


def test_instants_have_milliseconds_and_an_offset(account):
    meter_type = account.add_type()
    for member in ("activeFrom", "createdAt", "updatedAt"):
        assert INSTANT.fullmatch(meter_type[member]), member
    age = datetime.now(UTC) - datetime.fromisoformat(meter_type["createdAt"])
    assert timedelta() <= age < timedelta(seconds=10)
    assert meter_type["activeFrom"] == meter_type["createdAt"] == meter_type["updatedAt"]


def test_instants_of_other_offsets_are_printed_in_utc(account):
    meter_type = account.add_type(activeFrom="2199-01-01T01:00:00+01:00", activeTo="2199-01-01T00:00:00.5Z")
    assert meter_type["activeFrom"] == "2199-01-01T00:00:00.000+00:00"
    assert meter_type["activeTo"] == "2199-01-01T00:00:00.500+00:00"


def test_a_clock_that_is_a_little_behind_is_no_past(account):
    assert account.add_type(activeFrom=ahead(minutes=-4))


@pytest.mark.parametrize("aggregation", ["sum", "increment", "max", "min"])
def test_the_four_aggregations(account, aggregation):
    assert account.add_type(aggregation={"type": aggregation})["aggregation"] == {"type": aggregation}


@pytest.mark.parametrize("member", ["activeFrom", "activeTo", "category", "externalRef"])
def test_null_is_as_good_as_absence_where_updates_allow_it(account, member):
    assert account.add_type(**{member: None}).get("category") == "DEFAULT"


@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("0", "0"),
        ("0.0", "0"),
        ("-0.0", "0"),
        ("51.0", "51"),
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("176.50", "176.5"),
        ("0.00000001", "0.00000001"),
        ("1e-9", "0.000000001"),
        ("0.1", "0.1"),
        ("12345678901234567890123456789.012345678901234567890123456789", None),
        ("9" * 1000, None),
        ("1e999", "1" + "0" * 999),
    ],
)
def test_numbers_are_exact_and_never_have_an_exponent(account, sent, printed):
    body = make_type(capacity="NUMBER", thresholds=[{"name": "t", "absoluteValue": "NUMBER"}])
    response = account.client.post("/meter-types", content=json.dumps(body).replace('"NUMBER"', sent))
    created(response)
    again = account.get(f"/meter-types/{response.json()['id']}")
    for answer in (response, again):
        assert spelled(answer, "capacity") == spelled(answer, "absoluteValue") == [printed or sent]


def test_custom_fields_keep_their_order_and_their_digits(account):
    fields = '{"zz":1.10,"a":12345678901234567890123,"m":{"y":[1,null,true],"b":0.30},"":""}'
    body = make_type(thresholds=[{"name": "t", "absoluteValue": 1, "customFields": "FIELDS"}])
    response = account.client.post("/meter-types", content=json.dumps(body).replace('"FIELDS"', fields))
    created(response)
    assert f'"customFields":{fields}' in response.text
    answer = account.get(f"/meter-types/{response.json()['id']}")
    assert f'"customFields":{fields}' in answer.text
    assert exact(answer.text)["thresholds"][0]["customFields"] == exact(fields)


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"day": "L"},
        {"day": "1,15,L", "hour": "*/6", "minute": "0-59/5"},
        {"month": "2", "day": "29"},
        {"month": "2", "day": "31", "weekday": "1"},
        {"month": "2,3", "day": "30"},
        {"day": "*", "weekday": "0"},
        {"day": "*", "weekday": "7"},
        {"day": "*", "weekday": "1-5,7"},
        {"minute": "*", "hour": "*", "day": "*"},
        {"minute": "05", "hour": "00"},
    ],
)
def test_schedules_come_back_as_they_were_sent(account, schedule):
    sent = make_schedule(**schedule)
    assert account.add_type(resetSchedule=sent)["resetSchedule"] == sent


def test_official_provisioning_bodies_are_taken(account):
    body = {
        "name": "L1_Llama3_Requests",
        "description": "L1 API requests using the Llama3 LLM",
        "unit": "API request",
        "category": "L1_API_Requests",
        "aggregation": {"type": "sum"},
        "resetSchedule": {"day": "1", "hour": "0", "minute": "0", "month": "*", "weekday": "*"},
        "timezone": "Etc/UTC",
    }
    assert created(account.post("/meter-types", body)).items() >= body.items()


def test_the_longest_texts_are_taken(account):
    lengths = {"name": 80, "description": 200, "externalRef": 100, "unit": 50, "category": 50}
    longest = {member: "x" * length for member, length in lengths.items()}
    assert account.add_type(**longest).items() >= longest.items()


def test_a_name_is_taken_once(account):
    name = account.add_type()["name"]
    assert "name" in refused(account.post("/meter-types", make_type(name=name)), 409)["message"]
    assert created(account.post("/meter-types", make_type(name=name.lower())))


def test_an_external_reference_is_taken_once(account):
    account.add_type(externalRef="once")
    assert "externalRef" in refused(account.post("/meter-types", make_type(externalRef="once")), 409)["message"]


def test_two_types_may_have_no_external_reference(account):
    assert account.add_type(externalRef=MISSING)["id"] != account.add_type(externalRef=None)["id"]


def test_another_account_may_have_the_same_name_and_reference(account, stranger):
    body = make_type(externalRef="everybody's")
    assert created(account.post("/meter-types", body))["id"] != created(stranger.post("/meter-types", body))["id"]


def test_of_many_who_create_one_name_at_once_one_does(account):
    body = make_type(name="Wanted by many")
    statuses = [answer.status_code for answer in at_once([partial(account.post, "/meter-types", body)] * 16)]
    assert sorted(statuses) == [201] + [409] * 15
    assert len(ok(account.get("/meter-types", name="Wanted by many"))["meterTypes"]) == 1


def test_of_many_who_create_one_reference_at_once_one_does(account):
    calls = [partial(account.post, "/meter-types", make_type(externalRef="wanted")) for _ in range(16)]
    assert sorted(answer.status_code for answer in at_once(calls)) == [201] + [409] * 15
