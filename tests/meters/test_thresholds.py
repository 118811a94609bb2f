"""Thresholds are reached once a period, told in order, and armed again by the reset (reference: usage engine 2.6)."""

from datetime import timedelta

import pytest

from tests.sandbox import parse
from tests.usage_engine import make_schedule

CAPACITY = 100


@pytest.fixture(autouse=True)
def morning(customer):
    customer.wait_for_morning()


@pytest.fixture(scope="module")
def stream(customer):
    rule = {"ignoreCondition": True, "matchCategory": "DEFAULT", "groupBy": [{"fields": ["region"]}]}
    carries = [{"field": "city", "operation": "carry-last"}]
    with customer.metering(guidingRules=[rule | {"otherOperations": carries}]) as stream:
        yield stream.deploy()


def share(percent, **fields):
    return {"name": f"{percent} %", "capacityPercentage": percent, "customFields": fields}


def absolute(value, **fields):
    return {"name": f"{value} units", "absoluteValue": value, "customFields": fields}


def add_meter(stream, *thresholds, **changes):
    kind = {"capacity": CAPACITY, "thresholds": list(thresholds)} | changes
    return stream.add_meter(stream.customer.add_type(**kind))


def use(stream, meter, *values):
    """One record each, counted before this returns."""
    for value in values:
        stream.use(meter, value)
    stream.customer.settle()


def told(stream, meter):
    """What came out for the meter, as (name of the threshold, value)."""
    sent = [one for one in stream.outputs("thresholds") if one["id"] == meter["id"]]
    assert [one["record"] for one in stream.customer.records() if _is_of(one, meter)] == _plain(sent)
    return [(one["thresholdReached"]["name"], one["value"]) for one in sent]


def _is_of(one, meter):
    return one["type"] == "threshold" and one["record"]["id"] == meter["id"]


def _plain(sent):
    """The feed is read with floats."""
    return [one | {"value": float(one["value"]), "capacity": float(one["capacity"])} for one in sent]


def test_a_threshold_fires_at_its_limit_and_not_before(stream):
    meter = add_meter(stream, share(75))
    use(stream, meter, "74.999999999999999999999999999999")
    assert told(stream, meter) == []
    use(stream, meter, "0.000000000000000000000000000001")
    assert told(stream, meter) == [("75 %", 75)]


def test_it_fires_once_a_period_however_the_value_goes_on(stream):
    meter = add_meter(stream, absolute(50))
    use(stream, meter, 51, 24, -70, 90)
    assert told(stream, meter) == [("50 units", 51)]


def test_one_record_that_reaches_several_sends_one_for_each_ascending(stream):
    meter = add_meter(stream, absolute(80), share(105), absolute(10), share(50))
    use(stream, meter, 200)
    sent = [one for one in stream.outputs("thresholds") if one["id"] == meter["id"]]
    names = ["10 units", "50 %", "80 units", "105 %"]
    assert [one["thresholdReached"]["name"] for one in sent] == names
    # Each shows as reached what was told so far.
    reached = [{each["name"] for each in one["thresholds"] if "reachedAt" in each} for one in sent]
    assert reached == [set(names[:count]) for count in (1, 2, 3, 4)]


def test_the_record_is_the_meters_with_the_threshold_last(stream):
    threshold = share(50, action="MAIL", level="2")
    meter = add_meter(stream, threshold)
    before = stream.customer.now()
    use(stream, meter, "60.50")
    [sent] = [one for one in stream.outputs("thresholds") if one["id"] == meter["id"]]
    assert list(sent)[-2:] == ["updatedAt", "thresholdReached"]
    reached = sent["thresholdReached"]
    assert list(reached) == ["name", "capacityPercentage", "customFields", "reachedAt"]
    assert reached == threshold | {"reachedAt": reached["reachedAt"]}
    assert before - timedelta(seconds=1) <= parse(reached["reachedAt"]) <= stream.customer.now()
    after = stream.customer.meter(meter)
    assert sent["thresholds"] == after["thresholds"] == [reached]
    assert sent["periodEnd"] == after["periodEnd"] == meter["periodEnd"]
    assert after["value"] == 60.5


def test_the_record_is_as_of_its_own_usage_and_not_of_what_came_later_in_the_slice(stream):
    meter = add_meter(stream, absolute(1), absolute(2))
    stream.send(
        *({"userId": meter["userId"], "value": 1, "region": "EMEA", "city": city} for city in ("Lund", "Kyoto", "Rome"))
    )
    stream.customer.settle()
    sent = [one for one in stream.outputs("thresholds") if one["id"] == meter["id"]]
    for one, value, city in zip(sent, (1, 2), ("Lund", "Kyoto"), strict=True):
        [group] = one["groupBreakdowns"][0]["groups"]
        assert (one["value"], group["value"]) == (value, value)
        assert one["carryLast"] == group["carryLast"] == {"city": city}


def test_the_reset_arms_it_again(stream):
    meter = add_meter(stream, absolute(50), resetSchedule=make_schedule(day="*"))
    for _ in range(2):
        use(stream, meter, 60)
        stream.customer.advance(days=1)
        stream.customer.settle()
    assert told(stream, meter) == [("50 units", 60)] * 2
    # The statement of each period shows when it was reached.
    assert all("reachedAt" in period["thresholds"][0] for period in stream.customer.periods(meter))
    assert "reachedAt" not in stream.customer.meter(meter)["thresholds"][0]


@pytest.mark.parametrize(("aggregation", "values", "fires_at"), [("increment", (9, 9, 9), 3), ("max", (2, 5, 1), 5)])
def test_it_looks_at_the_aggregated_value(stream, aggregation, values, fires_at):
    meter = add_meter(stream, absolute(3), aggregation={"type": aggregation})
    use(stream, meter, *values)
    assert told(stream, meter) == [("3 units", fires_at)]


def test_a_new_capacity_counts_from_the_next_record(stream):
    meter = add_meter(stream, share(50))
    use(stream, meter, 40)
    stream.customer.patch_meter(meter, capacity=60)
    stream.customer.settle()
    assert told(stream, meter) == []
    use(stream, meter, 0)
    assert told(stream, meter) == [("50 %", 40)]
    # What was reached stays so, also when the limit moves out of reach.
    stream.customer.patch_meter(meter, capacity=1000)
    use(stream, meter, 1)
    assert told(stream, meter) == [("50 %", 40)]


def test_patched_thresholds_keep_what_was_reached_where_name_and_limit_stay(stream):
    meter = add_meter(stream, absolute(10), absolute(20))
    use(stream, meter, 30)
    kept = absolute(10, action="CALL")
    stream.customer.patch_meter(meter, thresholds=[kept, absolute(25), absolute(20) | {"name": "renamed"}])
    use(stream, meter, 0)
    assert told(stream, meter) == [("10 units", 30), ("20 units", 30), ("renamed", 30), ("25 units", 30)]


def test_changes_of_the_type_are_for_new_meters(stream):
    kind = stream.customer.add_type(capacity=100, thresholds=[absolute(50)])
    old = stream.add_meter(kind)
    changes = {"capacity": 10, "thresholds": [share(50)]}
    answer = stream.customer.client.patch(f"/usage-metering/v1/meter-types/{kind['id']}", json=changes)
    assert answer.status_code == 200
    new = stream.add_meter(kind)
    use(stream, old, 6)
    use(stream, new, 6)
    assert told(stream, old) == []
    assert told(stream, new) == [("50 %", 6)]
