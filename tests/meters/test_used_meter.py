"""How a meter is answered that has counted: what the meter processor stores is written here by hand."""

import json
from contextlib import contextmanager

import psycopg
import pytest

from tests.usage_engine import exact, ok, spelled


@contextmanager
def stored(installation, meter):
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:

        def store(column, value):
            statement = psycopg.sql.SQL("UPDATE meters SET {} = %s WHERE account_id = %s AND id = %s")
            parameters = (value, meter["account"], meter["id"])
            assert database.execute(statement.format(psycopg.sql.Identifier(column)), parameters).rowcount == 1

        yield store


@pytest.fixture
def used(account, installation):
    thresholds = [
        {"name": "half", "capacityPercentage": 50, "customFields": {}},
        {"name": "ten", "absoluteValue": 10, "customFields": {}},
    ]
    meter = account.add_meter(account.add_type(capacity=100, thresholds=thresholds)) | {"account": account.id}
    with stored(installation, meter) as store:
        yield meter, store


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "0"),
        ("0.00", "0"),
        ("51.0", "51"),
        ("176.50", "176.5"),
        ("1000", "1000"),
        ("-3.10", "-3.1"),
        ("0.0000000001", "0.0000000001"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
        ("1" + "0" * 400, "1" + "0" * 400),
    ],
)
def test_a_value_is_a_plain_number(account, used, value, printed):
    meter, store = used
    store("value", value)
    assert spelled(account.get(f"/meters/{meter['id']}"), "value") == [printed]


def test_groups_are_all_breakdowns_in_one_list(account, used):
    meter, store = used
    group = {
        "key": "Genres:Comedy",
        "fields": {"Genres": "Comedy"},
        "value": 9,
        "carryFirst": {},
        "carryLast": {"a": 1},
    }
    other = group | {"key": "Genres:Drama", "fields": {"Genres": "Drama"}}
    breakdowns = [{"name": "Genres", "groups": [group, other]}, {"name": "region, status", "groups": [group]}]
    store("group_breakdowns", json.dumps(breakdowns).replace('"value": 9', '"value": 9.50'))
    response = account.get(f"/meters/{meter['id']}")
    answer = ok(response)
    expected = json.loads(json.dumps(breakdowns).replace('"value": 9', '"value": 9.5'))
    assert answer["groupBreakdowns"] == expected
    assert answer["groups"] == [one for breakdown in expected for one in breakdown["groups"]]
    assert set(spelled(response, "value")) == {"9.5", "0"}


def test_a_threshold_that_stays_the_same_stays_reached(account, used):
    meter, store = used
    at = "2026-03-08T13:59:41.372Z"
    reached = [threshold | {"reachedAt": at} for threshold in meter["thresholds"]]
    store("thresholds", json.dumps(reached))
    path = f"/meters/{meter['id']}"
    assert ok(account.get(path))["thresholds"] == reached
    half, ten = meter["thresholds"]
    new = [ten | {"customFields": {"action": "MAIL"}}, half | {"capacityPercentage": 60}, half | {"name": "other"}]
    answer = ok(account.patch(path, {"thresholds": new}))["thresholds"]
    assert answer == [new[0] | {"reachedAt": at}, new[1], new[2]]
    assert ok(account.patch(path, {"thresholds": [half | {"name": "ten"}]}))["thresholds"] == [half | {"name": "ten"}]


def test_a_new_capacity_leaves_thresholds_reached(account, used):
    meter, store = used
    reached = [meter["thresholds"][0] | {"reachedAt": "2026-03-08T13:59:41.372Z"}]
    store("thresholds", json.dumps(reached))
    assert ok(account.patch(f"/meters/{meter['id']}", {"capacity": 500}))["thresholds"] == reached


def test_an_update_leaves_what_was_counted(account, used):
    meter, store = used
    store("value", "12.5")
    store("carry_first", '{"city": "Lund", "n": 1.50}')
    seen = {"count": 3, "firstEvent": "2026-03-08T13:59:06.268Z", "lastEvent": "2026-03-08T13:59:41.372Z"}
    store("meter_meta_data", json.dumps(seen))
    answer = account.patch(f"/meters/{meter['id']}", {"customFields": {"a": 1}})
    assert ok(answer).items() >= {"value": 12.5, "meterMetaData": seen, "carryLast": {}}.items()
    assert exact(answer.text)["carryFirst"] == exact('{"city": "Lund", "n": 1.50}')
