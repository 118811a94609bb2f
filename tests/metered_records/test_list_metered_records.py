"""The feed: all that meters have sent, in order, from wherever a reader stands."""

import pytest

from tests.tenants import make_tenant, paths_of, refused
from tests.usage_engine import exact, make_schedule, ok

FEED = "/usage-metering/v1/metered-records"
DAILY = make_schedule(day="*")


@pytest.fixture(scope="module")
def fed(sandbox):
    """A customer with three days of two meters, one of which reached a threshold on each: nine records."""
    with sandbox.open_customer() as customer, customer.metering() as stream:
        stream.deploy()
        customer.wait_for_morning()
        kind = customer.add_type(resetSchedule=DAILY, thresholds=[{"name": "t", "absoluteValue": 1}])
        meters = [stream.add_meter(kind, customFields={"plan": "gold"}) for _ in range(2)]
        for _ in range(3):
            stream.use(meters[0], "1.50")
            customer.settle()
            customer.advance(days=1)
            customer.settle()
        for meter in meters:
            ok(customer.client.delete(f"/usage-metering/v1/meters/{meter['id']}"))
        yield customer, meters


def pull(customer, **params):
    answer = ok(customer.get(FEED, **params))
    assert answer.keys() == {"meteredRecords", "after"}
    return answer["meteredRecords"], answer["after"]


def test_records_come_in_order_from_the_beginning(fed):
    customer, meters = fed
    records, after = pull(customer)
    assert [one["cursor"] for one in records] == [str(number) for number in range(1, 10)]
    assert after == "9"
    assert [one["type"] for one in records].count("threshold") == 3
    own = [(one["type"], one["record"]["periodStart"]) for one in records if one["record"]["id"] == meters[0]["id"]]
    starts = [period["periodStart"] for period in customer.periods(meters[0])]
    assert own == [(kind, start) for start in starts for kind in ("threshold", "reset")]


def test_each_item_tells_cursor_type_instant_and_the_whole_record(fed):
    customer, _ = fed
    item = pull(customer)[0][0]
    assert item.keys() == {"cursor", "type", "recordedAt", "record"}
    assert (item["type"], item["record"]["customFields"]) == ("threshold", {"plan": "gold"})
    assert list(item["record"])[:6] == ["id", "meterTypeId", "meterTypeName", "userId", "meterKey", "value"]
    assert list(item["record"])[-1] == "thresholdReached"
    assert item["recordedAt"] >= item["record"]["thresholdReached"]["reachedAt"]
    assert '"value":1.5,' in customer.get(FEED, limit=1).text


def test_a_reader_goes_on_behind_the_cursor_it_was_given(fed):
    customer, _ = fed
    everything, _ = pull(customer)
    found, after = [], None
    while True:
        records, following = pull(customer, limit=2, **({} if after is None else {"after": after}))
        if not records:
            break
        assert len(records) <= 2
        assert following == records[-1]["cursor"]
        found += records
        after = following
    assert found == everything
    assert following == after


def test_any_cursor_may_be_asked_from(fed):
    customer, _ = fed
    everything, last = pull(customer)
    for place, one in enumerate(everything):
        assert pull(customer, after=one["cursor"])[0] == everything[place + 1 :]
    assert pull(customer, after="0") == (everything, last)


def test_at_the_end_the_answer_is_empty_and_the_cursor_the_same(fed):
    customer, _ = fed
    assert pull(customer, after="9") == ([], "9")
    assert pull(customer, after="999999999999999999") == ([], "999999999999999999")


def test_what_comes_later_is_behind_the_cursor(sandbox, fed):
    with sandbox.open_customer() as customer:
        customer.wait_for_morning()
        meter = customer.add_meter(customer.add_type(resetSchedule=DAILY))
        assert pull(customer) == ([], "0")
        for day in range(1, 4):
            customer.advance(days=1)
            customer.settle()
            [one], after = pull(customer, after=str(day - 1))
            assert (one["record"]["id"], after) == (meter["id"], str(day))


def test_a_record_is_spelled_as_it_was_sent(sandbox):
    with sandbox.open_customer() as customer:
        customer.wait_for_morning()
        fields = '{"z":1.10,"a":"é\\u2028","n":{"y":1e3,"x":[100000000000000000000.5]}}'
        kind = customer.add_type(resetSchedule=DAILY)
        body = f'{{"meterKey":"k","userId":"u","meterTypeId":"{kind["id"]}","customFields":{fields}}}'
        assert customer.client.post("/usage-metering/v1/meters", content=body).status_code == 201
        customer.advance(days=1)
        customer.settle()
        text = customer.get(FEED).text
        assert '"customFields":{"z":1.10,"a":"é\u2028","n":{"y":1000,"x":[100000000000000000000.5]}}' in text
        assert exact(text)["meteredRecords"][0]["record"]["customFields"] == exact(fields)


@pytest.mark.parametrize("after", ["", "x", "-1", "1.0", "+1", " 1", "1 ", "0x1", "1" * 19, "\u0661", "null"])
def test_a_malformed_cursor_is_refused_by_name(fed, after):
    assert paths_of(refused(fed[0].get(FEED, after=after), 400)) == ["after"]


@pytest.mark.parametrize("limit", ["", "0", "1001", "-1", "1.5", "x"])
def test_a_bad_limit_is_refused_by_name(fed, limit):
    assert paths_of(refused(fed[0].get(FEED, limit=limit), 400)) == ["limit"]


def test_a_thousand_fit_one_answer(fed):
    assert len(pull(fed[0], limit=1000)[0]) == 9


def test_strangers_see_nothing_of_it(sandbox, fed):
    with sandbox.open_customer() as stranger:
        assert pull(stranger) == ([], "0")


def test_it_needs_the_scope_of_reading_meters(sandbox):
    with make_tenant(sandbox.installation, sandbox.api.base_url, "read:meter_types").client() as client:
        refused(client.get(FEED), 401)
