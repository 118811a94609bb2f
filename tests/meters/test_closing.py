"""How periods end: by the worker's clock, with the next usage, by the run, and when something is wrong."""

import json
from datetime import timedelta

import pytest

from tests.sandbox import open_sandbox, parse
from tests.tenants import refused
from tests.usage_engine import make_schedule, ok

DAILY = make_schedule(day="*")
DAY = timedelta(days=1)

RECORD_MEMBERS = [
    *("id", "meterTypeId", "meterTypeName", "userId", "meterKey", "value", "unit", "periodStart", "periodEnd"),
    *("groupBreakdowns", "capacity", "thresholds", "carryFirst", "carryLast", "customFields", "deleteOnReset"),
    *("timezone", "createdAt", "updatedAt"),
]
STATEMENT_MEMBERS = ["recordCount", "resetSchedule", "tzVersion", "closedAt", "previousHash", "hash"]


@pytest.fixture(autouse=True)
def morning(customer):
    customer.wait_for_morning()


@pytest.fixture(scope="module")
def stream(customer):
    rule = {"ignoreCondition": True, "matchCategory": "DEFAULT", "groupBy": [{"fields": ["region"]}]}
    carries = [{"field": "city", "operation": "carry-first"}, {"field": "city", "operation": "carry-last"}]
    with customer.metering(guidingRules=[rule | {"otherOperations": carries}]) as stream:
        yield stream.deploy()


def next_day(customer):
    """Over midnight, with all that follows from it."""
    customer.advance(days=1)
    customer.settle()


def spans(periods):
    return [(period["periodStart"], period["periodEnd"]) for period in periods]


def test_a_used_meter_sends_what_it_was_before_its_reset(customer, stream):
    kind = customer.add_type(resetSchedule=DAILY, capacity=1000, thresholds=[{"name": "t", "absoluteValue": 3}])
    meter = stream.add_meter(kind, customFields={"plan": "gold"})
    stream.use(meter, 1.5, region="EMEA", city="Lund")
    stream.use(meter, 2, region="APAC", city="Kyoto")
    customer.settle()
    before = customer.meter(meter)
    next_day(customer)
    [period] = customer.periods(meter)
    assert list(period) == RECORD_MEMBERS + STATEMENT_MEMBERS
    same = set(RECORD_MEMBERS)
    assert {name: period[name] for name in same} == {name: before[name] for name in same}
    assert (period["value"], period["recordCount"], period["carryFirst"]) == (3.5, 2, {"city": "Lund"})
    assert (period["resetSchedule"], period["previousHash"]) == (DAILY, None)
    assert period["thresholds"][0]["reachedAt"] < period["closedAt"]


def test_after_the_reset_nothing_of_the_old_period_is_left(customer, stream):
    kind = customer.add_type(resetSchedule=DAILY, thresholds=[{"name": "t", "absoluteValue": 1, "customFields": {}}])
    meter = stream.add_meter(kind)
    stream.use(meter, 5, region="EMEA", city="Lund")
    customer.settle()
    next_day(customer)
    after = customer.meter(meter)
    assert after["value"] == 0
    assert (after["groupBreakdowns"], after["groups"]) == ([], [])
    assert (after["carryFirst"], after["carryLast"], after["meterMetaData"]) == ({}, {}, {})
    assert after["thresholds"] == kind["thresholds"]
    assert after["periodStart"] == meter["periodEnd"]
    assert parse(after["periodEnd"]) - parse(after["periodStart"]) == DAY
    assert after["updatedAt"] > meter["updatedAt"]


def test_usage_is_a_stored_write_that_updatedAt_tells(customer, stream):  # noqa: N802 - the member's name
    meter = stream.add_meter(customer.add_type())
    customer.advance(seconds=5)
    before = customer.now()
    stream.use(meter, 1)
    customer.settle()
    assert before <= parse(customer.meter(meter)["updatedAt"]) <= customer.now()


def test_an_idle_meter_has_a_record_of_every_period_with_value_0(customer, stream):
    meter = stream.add_meter(customer.add_type(resetSchedule=DAILY))
    for _ in range(3):
        next_day(customer)
    periods = customer.periods(meter)
    assert [(period["value"], period["recordCount"], period["groupBreakdowns"]) for period in periods] == [
        (0, 0, [])
    ] * 3
    assert periods[0]["periodStart"] == meter["createdAt"]
    assert [end for _, end in spans(periods)[:-1]] == [start for start, _ in spans(periods)[1:]]


def test_periods_that_nobody_closed_have_a_record_each_in_order(customer, stream):
    meter = stream.add_meter(customer.add_type(resetSchedule=DAILY))
    stream.use(meter, 7)
    customer.settle()
    customer.advance(days=5)
    customer.settle()
    assert [period["value"] for period in customer.periods(meter)] == [7, 0, 0, 0, 0]
    fed = [one["record"] for one in customer.records() if one["record"]["id"] == meter["id"]]
    assert spans(fed) == spans(customer.periods(meter))


def test_more_missed_periods_than_fit_one_transaction_are_all_closed(customer, stream):
    """Usage that comes meanwhile waits for them; it is counted in the period in which it came."""
    meter = stream.add_meter(customer.add_type(resetSchedule=make_schedule(minute="*", hour="*", day="*")))
    customer.advance(hours=40)
    stream.use(meter, 3)
    customer.settle()
    customer.advance(minutes=2)
    customer.settle()
    periods = customer.periods(meter)
    assert len(periods) >= 2_401
    assert sum(period["value"] for period in periods) == 3
    assert all(period["value"] == 0 for period in periods[:2_400])
    assert [end for _, end in spans(periods)[:-1]] == [start for start, _ in spans(periods)[1:]]
    assert stream.rejected() == []
    # Every day that later tests advance would be 1440 periods more.
    ok(customer.client.delete(f"/usage-metering/v1/meters/{meter['id']}"))


def test_collapse_spans_all_missed_periods_in_one(installation, start_api, tmp_path_factory):
    with open_sandbox(installation, start_api, tmp_path_factory) as sandbox, sandbox.open_customer() as customer:
        sandbox.start_worker(METERHOUSE_MISSED_PERIODS="collapse")
        customer.wait_for_morning()
        with customer.metering() as stream:
            stream.deploy()
            idle, used = (stream.add_meter(customer.add_type(resetSchedule=DAILY)) for _ in range(2))
            stream.use(used, 7)
            customer.settle()
            customer.advance(days=5)
            stream.use(used, 1)
            customer.settle()
            for meter, values in ((idle, [0]), (used, [7])):
                assert [period["value"] for period in customer.periods(meter)] == values
                assert spans(customer.periods(meter)) == [(meter["periodStart"], meter["periodEnd"])]
                after = customer.meter(meter)
                # As the product has it: the next one begins at the old end and ends at the nearest future instant.
                assert after["periodStart"] == meter["periodEnd"]
                assert timedelta(0) < parse(after["periodEnd"]) - customer.now() <= DAY
            next_day(customer)
            assert [period["value"] for period in customer.periods(used)] == [7, 1]


def test_a_changed_schedule_waits_for_the_running_period(customer, stream):
    kind = customer.add_type(resetSchedule=make_schedule(day="*", hour="6"))
    meter = stream.add_meter(kind)
    noon = make_schedule(day="*", hour="12")
    ok(customer.client.patch(f"/usage-metering/v1/meter-types/{kind['id']}", json={"resetSchedule": noon}))
    assert customer.meter(meter)["periodEnd"] == meter["periodEnd"]
    next_day(customer)
    next_day(customer)
    first, second = customer.periods(meter)[:2]
    assert (first["periodEnd"][11:16], second["periodEnd"][11:16]) == ("06:00", "12:00")
    # A statement tells the schedule that its own end came from.
    assert (first["resetSchedule"], second["resetSchedule"]) == (kind["resetSchedule"], noon)


def test_a_changed_zone_is_for_new_meters(customer, stream):
    kind = customer.add_type(resetSchedule=DAILY)
    meter = stream.add_meter(kind)
    ok(customer.client.patch(f"/usage-metering/v1/meter-types/{kind['id']}", json={"timezone": "Asia/Tokyo"}))
    next_day(customer)
    assert customer.periods(meter)[0]["timezone"] == "Etc/UTC"
    assert customer.meter(meter)["periodEnd"][11:16] == "00:00"
    assert stream.add_meter(kind)["periodEnd"][11:16] == "15:00"


def test_when_the_type_is_over_only_used_meters_are_flushed(customer, stream):
    end = customer.now() + timedelta(hours=1)
    kind = customer.add_type(resetSchedule=DAILY, activeTo=end.isoformat())
    idle, used = stream.add_meter(kind), stream.add_meter(kind)
    stream.use(used, 2)
    customer.settle()
    for _ in range(3):
        next_day(customer)
    assert customer.periods(idle) == []
    assert spans(customer.periods(used)) == [(used["periodStart"], used["periodEnd"])]
    # Their periods go on, and what proves to have been used in time is still counted.
    assert parse(customer.meter(idle)["periodEnd"]) > customer.now()
    stream.use(idle, 4, timestamp=(end - timedelta(minutes=1)).isoformat())
    stream.use(idle, 8)
    customer.settle()
    next_day(customer)
    assert [period["value"] for period in customer.periods(idle)][-1] == 4
    assert [record["payload"]["value"] for record in stream.rejected()] == [8]


def test_delete_on_reset_sends_the_record_and_then_the_meter_is_gone(customer, stream):
    meters = [stream.add_meter(customer.add_type(resetSchedule=DAILY)) for _ in range(2)]
    for meter in meters:
        customer.patch_meter(meter, deleteOnReset=True)
        stream.use(meter, 3)
    customer.settle()
    customer.advance(days=3)
    # One is ended by the worker, the other perhaps by the usage that finds no meter any more.
    stream.use(meters[0], 1)
    customer.settle()
    for meter in meters:
        refused(customer.get(f"/usage-metering/v1/meters/{meter['id']}"), 404)
        [period] = customer.periods(meter)
        assert (period["value"], period["deleteOnReset"]) == (3, True)
    assert meters[0]["userId"] in [record["payload"]["userId"] for record in stream.rejected()]
    sent = [one["id"] for one in stream.outputs("resets")]
    assert [sent.count(meter["id"]) for meter in meters] == [1, 1]


def test_a_reset_reaches_the_streams_output_once_whoever_closed_the_period(customer, stream):
    """Many times over: usage and the worker race for the meter at each midnight."""
    meter = stream.add_meter(customer.add_type(resetSchedule=DAILY))
    for day in range(8):
        customer.advance(days=1)
        if day % 2:
            stream.use(meter, 1)
        customer.settle()
    sent = [one for one in stream.outputs("resets") if one["id"] == meter["id"]]
    assert spans(sent) == spans(customer.periods(meter))
    assert len(sent) == 8
    assert list(sent[0]) == [name for name in RECORD_MEMBERS if name != "capacity"]


def test_what_was_closed_before_the_stream_was_deployed_comes_with_it(customer):
    with customer.metering() as stream:
        meter = stream.add_meter(customer.add_type(resetSchedule=DAILY))
        customer.advance(days=2)
        customer.settle()
        stream.deploy()
        customer.settle()
        assert spans(stream.outputs("resets")) == spans(customer.periods(meter))
        assert len(customer.periods(meter)) == 2


# --- flush by execution ----------------------------------------------------------------------------------------------

USE = "await push({ userId: 'ann', value: payload.value + 1 })"


@pytest.fixture
def batch(customer):
    before = ("transforms/script", {"transform": USE}, None)
    with customer.metering(batch=3, before=before, flushType="STREAM_END") as stream:
        yield stream


def test_flush_by_execution_ends_the_period_with_the_run(customer, batch):
    used = batch.add_meter(customer.add_type(), userId="ann")
    idle = batch.add_meter(customer.add_type())
    elsewhere = customer.add_meter(customer.add_type(), userId="ann", meterKey="another")
    customer.advance(seconds=10)
    before = customer.now()
    batch.run_batch()
    for meter, value in ((used, 6), (idle, 0)):
        [period] = customer.periods(meter)
        assert period["value"] == value
        assert period["periodStart"] == meter["periodStart"]
        assert before <= parse(period["periodEnd"]) <= customer.now()
        after = customer.meter(meter)
        assert after["periodStart"] == period["periodEnd"]
        assert (after["periodEnd"], after["value"]) == (meter["periodEnd"], 0)
    assert customer.periods(elsewhere) == []
    batch.run_batch()
    first, second = customer.periods(used)
    assert (second["value"], second["periodStart"]) == (6, first["periodEnd"])
    assert len(batch.outputs("resets")) == 4


def test_flush_by_execution_closes_what_was_due_first(customer, batch):
    meter = batch.add_meter(customer.add_type(resetSchedule=DAILY), userId="ann")
    customer.advance(days=1)
    batch.run_batch()
    due, flushed = customer.periods(meter)
    assert (due["value"], due["periodEnd"]) == (0, meter["periodEnd"])
    assert (flushed["value"], flushed["periodStart"]) == (6, meter["periodEnd"])
    assert spans(batch.outputs("resets")) == spans([due, flushed])


def test_flush_by_execution_deletes_on_reset(customer, batch):
    meter = batch.add_meter(customer.add_type(), userId="ann")
    customer.patch_meter(meter, deleteOnReset=True)
    batch.run_batch()
    assert [period["value"] for period in customer.periods(meter)] == [6]
    refused(customer.get(f"/usage-metering/v1/meters/{meter['id']}"), 404)


def test_a_batch_that_flushes_by_period_end_leaves_the_period_open(customer):
    before = ("transforms/script", {"transform": USE}, None)
    with customer.metering(batch=3, before=before, flushType="TIMEOUT") as stream:
        meter = stream.add_meter(customer.add_type(), userId="ann")
        stream.run_batch()
        stream.run_batch()
        assert customer.periods(meter) == []
        assert customer.meter(meter)["value"] == 12


# --- what cannot be closed -------------------------------------------------------------------------------------------


def test_a_meter_that_cannot_be_closed_is_postponed_and_told_and_blocks_nobody(sandbox, customer, stream):
    kind = customer.add_type(resetSchedule=DAILY)
    sick, well = stream.add_meter(kind), stream.add_meter(kind)
    own = (customer.account_id, sick["id"])
    with sandbox.database() as database:
        database.execute("UPDATE meters SET timezone = 'Mars/Olympus' WHERE account_id = %s AND id = %s", own)
        next_day(customer)
        assert len(customer.periods(well)) == 1
        assert customer.periods(sick) == []
        assert "Mars/Olympus" in customer.meter(sick)["closeError"]
        assert "closeError" not in customer.meter(well)
        stream.use(sick, 5)
        stream.use(well, 5)
        customer.settle()
        assert customer.meter(well)["value"] == 5
        [rejected] = [one for one in stream.rejected() if one["payload"]["userId"] == sick["userId"]]
        assert "Mars/Olympus" in rejected["error"]
        customer.advance(days=2)
        customer.settle()
        database.execute("UPDATE meters SET timezone = 'Etc/UTC' WHERE account_id = %s AND id = %s", own)
        customer.advance(minutes=6)
        customer.settle()
    assert len(customer.periods(sick)) == 3
    assert "closeError" not in customer.meter(sick)
    ok(customer.client.post("/data-correction/v1/records/requeue", json={"ids": [rejected["id"]]}))
    customer.settle()
    assert customer.meter(sick)["value"] == 5


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("custom_fields", '{"a":' * 600 + "1" + "}" * 600),
        ("thresholds", json.dumps({"no": "list"})),
        ("group_breakdowns", json.dumps([{"name": "n"}])),
        ("meter_meta_data", json.dumps([1])),
        ("carry_first", json.dumps(5)),
        ("value", "NaN"),
    ],
)
def test_other_nonsense_in_a_row_is_told_too(sandbox, customer, stream, column, value):
    kind = customer.add_type(resetSchedule=DAILY)
    sick, well = stream.add_meter(kind), stream.add_meter(kind)
    with sandbox.database() as database:
        statement = f"UPDATE meters SET {column} = %s WHERE account_id = %s AND id = %s RETURNING close_at"
        database.execute(statement, (value, customer.account_id, sick["id"]))
        next_day(customer)
        assert (len(customer.periods(well)), customer.periods(sick)) == (1, [])
        [error] = database.execute("SELECT close_error FROM meters WHERE id = %s", (sick["id"],)).fetchone()
        assert error
    ok(customer.client.delete(f"/usage-metering/v1/meters/{sick['id']}"))


def test_a_period_that_the_outbox_has_already_is_not_closed_again(sandbox, customer, stream):
    """As after a table was restored by hand: the batch is refused, and its other meters are closed one by one."""
    kind = customer.add_type(resetSchedule=DAILY)
    sick, well = stream.add_meter(kind), stream.add_meter(kind)
    next_day(customer)
    with sandbox.database() as database:
        back = """
            UPDATE meters AS m SET period_start = r.period_start, period_end = m.period_start, close_at = m.period_start
            FROM metered_records AS r WHERE r.meter_id = m.id AND m.id = %s
        """
        assert database.execute(back, (sick["id"],)).rowcount == 1
    next_day(customer)
    assert (len(customer.periods(sick)), len(customer.periods(well))) == (1, 2)
    assert "metered_records_reset_key" in customer.meter(sick)["closeError"]
    ok(customer.client.delete(f"/usage-metering/v1/meters/{sick['id']}"))


def test_what_is_nested_too_deeply_to_be_stated_is_rejected(customer, stream):
    meter = stream.add_meter(customer.add_type())
    for depth in (90, 300):
        stream.send(f'{{"userId":"{meter["userId"]}","value":1,"city":{"[" * depth}{"]" * depth}}}')
    customer.settle()
    assert customer.meter(meter)["value"] == 1
    [rejected] = [one for one in stream.rejected() if one["payload"]["userId"] == meter["userId"]]
    assert "city is nested" in rejected["error"]
