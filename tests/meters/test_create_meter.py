import json
import re
from datetime import UTC, datetime
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from tests.usage_engine import at_once, created, exact, make_meter, make_schedule, ok, refused

MEMBERS = {
    *("capacity", "carryFirst", "carryLast", "createdAt", "customFields", "deleteOnReset", "groupBreakdowns"),
    *("groups", "id", "meterKey", "meterMetaData", "meterTypeId", "meterTypeName", "periodEnd", "periodStart"),
    *("thresholds", "timezone", "unit", "updatedAt", "userId", "value"),
}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_new_meter_is_empty_and_has_what_its_type_has(account):
    thresholds = [{"name": "most", "capacityPercentage": 90, "customFields": {"b": 1, "a": "x"}}]
    meter_type = account.add_type(capacity=1000, thresholds=thresholds, unit="MB", timezone="Europe/Berlin")
    meter = account.add_meter(meter_type, meterKey="key", userId="user0@example.com", customFields={"plan": "gold"})
    assert meter.keys() == MEMBERS
    assert UUID(meter.pop("id")).version == 4
    instants = {meter.pop(name) for name in ("createdAt", "updatedAt", "periodStart")}
    assert len(instants) == 1
    assert INSTANT.fullmatch(instants.pop())
    assert INSTANT.fullmatch(meter.pop("periodEnd"))
    assert meter == {
        "capacity": 1000,
        "carryFirst": {},
        "carryLast": {},
        "customFields": {"plan": "gold"},
        "deleteOnReset": False,
        "groupBreakdowns": [],
        "groups": [],
        "meterKey": "key",
        "meterMetaData": {},
        "meterTypeId": meter_type["id"],
        "meterTypeName": meter_type["name"],
        "thresholds": thresholds,
        "timezone": "Europe/Berlin",
        "unit": "MB",
        "userId": "user0@example.com",
        "value": 0,
    }


def test_only_a_capacity_may_be_absent(account):
    meter = account.add_meter(account.add_type())
    assert meter.keys() == MEMBERS - {"capacity"}
    assert (meter["thresholds"], meter["customFields"]) == ([], {})


def test_a_meter_can_be_read_as_it_was_created(account):
    meter = account.add_meter(account.add_type(capacity=1))
    assert ok(account.get(f"/meters/{meter['id']}")) == meter


@pytest.mark.parametrize("member", ["externalRef", "meterTypeExternalRef"])
def test_a_type_may_be_named_by_its_external_reference(account, member):
    meter_type = account.add_type(externalRef=f"by {member}")
    meter = created(account.post("/meters", make_meter(customFields={"plan": "gold"}, **{member: f"by {member}"})))
    assert (meter["meterTypeId"], meter["customFields"]) == (meter_type["id"], {"plan": "gold"})


def test_a_type_may_be_named_in_capitals(account):
    meter_type = account.add_type()
    meter = created(account.post("/meters", make_meter(meterTypeId=meter_type["id"].upper())))
    assert meter["meterTypeId"] == meter_type["id"]


def test_custom_fields_keep_their_order_and_their_digits(account):
    fields = '{"zz":"å","freeUnits":100,"costPerUnit":0.990,"n":null,"t":true,"nested":{"b":[1,2.50],"a":{}}}'
    body = make_meter(meterTypeId=account.add_type()["id"], customFields="FIELDS")
    response = account.client.post("/meters", content=json.dumps(body).replace('"FIELDS"', fields))
    created(response)
    again = account.get(f"/meters/{response.json()['id']}")
    for answer in (response, again):
        assert f'"customFields":{fields}' in answer.text
        assert exact(answer.text)["customFields"] == exact(fields)


def test_the_longest_texts_are_taken(account):
    longest = {"meterKey": "å" * 36, "userId": "å" * 320}
    assert account.add_meter(account.add_type(), **longest).items() >= longest.items()


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [
        ({}, "Europe/Stockholm"),
        ({"day": "L"}, "Europe/Berlin"),
        ({"day": "*"}, "America/New_York"),
        ({"day": "*", "hour": "*"}, "Asia/Kolkata"),
        ({"day": "*", "weekday": "1"}, "Pacific/Apia"),
    ],
)
def test_the_first_period_ends_on_the_wall_clock_of_the_zone(account, schedule, zone):
    meter = account.add_meter(account.add_type(resetSchedule=make_schedule(**schedule), timezone=zone))
    start, end = (datetime.fromisoformat(meter[name]) for name in ("periodStart", "periodEnd"))
    assert start <= datetime.now(UTC) < end
    local, began = end.astimezone(ZoneInfo(zone)), start.astimezone(ZoneInfo(zone))
    assert (local.minute, local.second, local.microsecond) == (0, 0, 0)
    if "hour" in schedule:
        assert (end - start).total_seconds() <= 3600
    else:
        assert local.hour == 0
        assert (local.date() - began.date()).days <= {"weekday": 7}.get(next(reversed(schedule or {"day": "1"})), 31)


def test_a_user_has_a_meter_once(account):
    meter_type, other = account.add_type(), account.add_type()
    body = make_meter(meterTypeId=meter_type["id"])
    created(account.post("/meters", body))
    refused(account.post("/meters", body | {"customFields": {"a": 1}}), 409)
    for change in ({"userId": "another"}, {"meterKey": "another"}, {"meterTypeId": other["id"]}):
        created(account.post("/meters", body | change))


def test_a_deleted_meter_can_be_made_again(account):
    body = make_meter(meterTypeId=account.add_type()["id"])
    ok(account.delete(f"/meters/{created(account.post('/meters', body))['id']}"))
    created(account.post("/meters", body))


def test_of_many_who_create_one_meter_at_once_one_does(account):
    body = make_meter(meterTypeId=account.add_type()["id"])
    statuses = [answer.status_code for answer in at_once([partial(account.post, "/meters", body)] * 16)]
    assert sorted(statuses) == [201] + [409] * 15
    assert len(ok(account.get("/meters", userId=body["userId"]))["meters"]) == 1


def test_a_meter_of_an_expired_or_future_type_can_be_made(account):
    assert account.add_meter(account.add_type(activeFrom="2199-01-01T00:00:00Z"))["value"] == 0


def test_a_meter_keeps_what_it_copied_and_shows_the_types_name(account):
    meter_type = account.add_type(capacity=10, thresholds=[{"name": "t", "absoluteValue": 1, "customFields": {}}])
    meter = account.add_meter(meter_type)
    changes = {
        "name": "Renamed later",
        "capacity": 99,
        "thresholds": [],
        "unit": "other",
        "timezone": "Asia/Tokyo",
        "resetSchedule": make_schedule(day="15"),
    }
    ok(account.patch(f"/meter-types/{meter_type['id']}", changes))
    assert ok(account.get(f"/meters/{meter['id']}")) == meter | {"meterTypeName": "Renamed later"}
