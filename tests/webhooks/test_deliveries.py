"""What meters send reaches webhooks: signed, whole, in order, until it is taken or parked."""

import itertools
import json
import socket
import threading
import time
import uuid
from collections import defaultdict
from decimal import Decimal

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.usage_engine import created, exact, make_schedule, ok
from tests.webhooks.house import RULE, add_meters, add_webhook, deliveries

EVERY_DAY = make_schedule(day="*")

pytestmark = pytest.mark.usefixtures("worker")

RECORD = [
    "id",
    "meterTypeId",
    "meterTypeName",
    "userId",
    "meterKey",
    "value",
    "unit",
    "periodStart",
    "periodEnd",
    "groupBreakdowns",
    "capacity",
    "thresholds",
    "carryFirst",
    "carryLast",
    "customFields",
    "deleteOnReset",
    "timezone",
    "createdAt",
    "updatedAt",
]


def verified(call, webhook) -> dict:
    Webhook(webhook["secret"]).verify(call.body, call.headers)
    return call.content


def stored_record(house, meter, kind="reset"):
    query = "SELECT CAST(record AS text) FROM metered_records WHERE meter_id = %s AND kind = %s ORDER BY record_no"
    with house.database() as database:
        return [row[0] for row in database.execute(query, [meter["id"], kind]).fetchall()]


def wait_until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to be so"
        time.sleep(0.05)


def starts_by_meter(calls) -> dict[str, list[str]]:
    """The periods in the order in which they were taken, by meter."""
    found = defaultdict(list)
    for call in calls:
        found[call.data["id"]].append(call.data["periodStart"])
    return found


def test_the_end_of_a_period_arrives_signed_with_the_record_as_it_stands(house, account):
    hook = house.receiver.hook()
    webhook = add_webhook(account, hook)
    [meter] = add_meters(account, capacity=2.50)
    house.end_periods(account, [meter])
    [call] = hook.wait_for_taken(1)
    content = verified(call, webhook)
    assert list(content) == ["type", "timestamp", "data"]
    assert content["type"] == "meter.reset"
    assert list(content["data"]) == RECORD
    assert (content["data"]["id"], content["data"]["value"]) == (meter["id"], 0)
    assert call.body.endswith(f'"data":{stored_record(house, meter)[0]}}}')
    assert call.headers["content-type"] == "application/json"
    assert call.id.startswith("msg_")
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    wait_until(lambda: deliveries(account, webhook) == [])


def meter_by_stream(account, house, **type_changes):
    """A meter that a deployed stream moves, and a function that sends it usage."""
    root = house.api.base_url
    collector = created(account.post(f"{root}/online-collection/v1/collectors", {"name": str(uuid.uuid4())}))
    nodes = [
        {"id": "in", "type": "readers/online_collection", "name": "In", "params": {"collectorId": collector["id"]}},
        {"id": "meter", "type": "transforms/meter", "name": "Meter", "params": {"guidingRules": [RULE]}},
    ]
    edges = [{"id": "e", "from": "in", "to": "meter", "config": {}}]
    document = {"name": str(uuid.uuid4()), "nodes": nodes, "edges": edges, "nodeGroups": []}
    streams = f"{root}/stream-management/v1/streams"
    made = created(account.post(f"{streams}/import", {"stream": document}))
    ok(account.post(f"{streams}/{made['id']}/deploy", None))
    [meter] = add_meters(account, key=made["meterKeys"]["meter"], **type_changes)

    def use(value):
        body = json.dumps({"data": {"userId": meter["userId"], "value": "VALUE"}}).replace('"VALUE"', value)
        path = f"{root}/online-collection/v1/collectors/{collector['id']}/send"
        assert account.client.post(path, content=body).status_code == 202

    return meter, use


def test_thresholds_and_the_reset_arrive_in_order_with_exact_numbers(house, account):
    hook = house.receiver.hook()
    webhook = add_webhook(account, hook)
    thresholds = [
        {"name": "all", "capacityPercentage": 100, "customFields": {"action": "STOP"}},
        {"name": "half", "capacityPercentage": 50, "customFields": {}},
    ]
    meter, use = meter_by_stream(account, house, capacity=1, thresholds=thresholds)
    use("0.70000000000000000001")
    use("0.3")
    hook.wait_for_taken(2)
    house.end_periods(account, [meter])
    half, whole, reset = hook.wait_for_taken(3)
    types = [verified(call, webhook)["type"] for call in (half, whole, reset)]
    assert types == ["meter.threshold", "meter.threshold", "meter.reset"]
    assert list(half.data) == [*RECORD, "thresholdReached"]
    assert list(reset.data) == RECORD
    assert [call.data["thresholdReached"]["name"] for call in (half, whole)] == ["half", "all"]
    assert whole.data["thresholdReached"]["customFields"] == {"action": "STOP"}
    assert list(whole.data["thresholdReached"]) == ["name", "capacityPercentage", "customFields", "reachedAt"]
    values = [exact(call.body)["data"]["value"] for call in (half, whole, reset)]
    assert values == [Decimal("0.70000000000000000001"), *[Decimal("1.00000000000000000001")] * 2]
    assert [call.body.partition('"data":')[2] for call in (half, whole)] == [
        f"{text}}}" for text in stored_record(house, meter, "threshold")
    ]


def test_a_webhook_gets_the_types_and_meter_keys_that_it_names(house, account):
    everything, resets, other_key, both = (house.receiver.hook() for _ in range(4))
    threshold = [{"name": "t", "absoluteValue": 1, "customFields": {}}]
    meter, use = meter_by_stream(account, house, thresholds=threshold)
    [stranger] = add_meters(account)
    add_webhook(account, everything)
    add_webhook(account, resets, types=["reset"], meterKeys=["k", meter["meterKey"]])
    add_webhook(account, other_key, meterKeys=[meter["meterKey"].upper()])
    add_webhook(account, both, types=["threshold"], meterKeys=[meter["meterKey"]])
    use("1")
    both.wait_for_taken(1)
    house.end_periods(account, [meter, stranger])
    everything.wait_for_taken(3)
    house.settle(account)
    assert [(call.content["type"], call.data["id"]) for call in resets.taken] == [("meter.reset", meter["id"])]
    assert [(call.content["type"], call.data["id"]) for call in both.taken] == [("meter.threshold", meter["id"])]
    assert len(everything.taken) == 3
    assert other_key.calls == []


def test_another_account_gets_nothing(house, account):
    own, foreign = house.receiver.hook(), house.receiver.hook()
    with house.account() as stranger:
        add_webhook(stranger, foreign)
        add_webhook(account, own)
        house.end_periods(account, add_meters(account))
        own.wait_for_taken(1)
        house.settle(account)
    assert foreign.calls == []


def test_every_missed_period_arrives_once_and_in_order_whatever_the_receiver_answers(house, account):
    """Fails the first two tries of every third message, and redirects every fifth."""
    tries = defaultdict(itertools.count)

    def answer(call):
        number = int(call.data["periodStart"][11:13])
        failing = {0: 500, 1: 302}.get(next(tries[call.id]))
        return failing if failing and (number % 3 == 0 or number % 5 == 0) else 204

    hook = house.receiver.hook(answer)
    webhook = add_webhook(account, hook)
    meters = add_meters(account, 4)
    house.end_periods(account, meters, 12)
    hook.wait_for_taken(48)
    house.settle(account)
    taken = starts_by_meter(hook.taken)
    assert set(taken) == {meter["id"] for meter in meters}
    for starts in taken.values():
        assert len(starts) == len(set(starts)) == 12
        assert starts == sorted(starts)
    by_id = defaultdict(set)
    for call in hook.calls:
        verified(call, webhook)
        by_id[call.id].add(call.body)
    assert len(by_id) == 48
    assert all(len(bodies) == 1 for bodies in by_id.values())
    assert len(hook.calls) > 48


def test_a_later_record_of_a_meter_waits_while_an_earlier_one_fails_and_other_meters_go_on(house, account):
    healthy = threading.Event()
    failing, fine = add_meters(account, 2)

    def answer(call):
        return 200 if call.data["id"] == fine["id"] or healthy.is_set() else 503

    hook = house.receiver.hook(answer)
    webhook = add_webhook(account, hook)
    for _ in range(3):
        house.end_periods(account, [failing, fine])
    hook.wait_for_taken(3)
    assert {call.data["id"] for call in hook.taken} == {fine["id"]}
    refused = {call.id for call in hook.calls} - {call.id for call in hook.taken}
    assert len(refused) == 1
    waiting = deliveries(account, webhook, status="pending")
    first, *others = [one for one in waiting if one["meterId"] == failing["id"]]
    assert first["id"] in refused
    assert first["lastError"] == "answered 503"
    assert first["attempts"] >= 1
    assert [one["attempts"] for one in others] == [0, 0]
    healthy.set()
    hook.wait_for_taken(6)
    starts = starts_by_meter(hook.taken)[failing["id"]]
    assert starts == sorted(starts)
    assert len(starts) == 3


def test_a_receiver_that_hangs_is_given_up_and_holds_up_nobody_else(house, account):
    let_go = threading.Event()

    def hang(call):
        let_go.wait()
        return 200

    hanging, fine = house.receiver.hook(hang), house.receiver.hook()
    webhook = add_webhook(account, hanging)
    add_webhook(account, fine)
    meters = add_meters(account, 60)
    try:
        house.end_periods(account, meters)
        fine.wait_for_taken(60)
        assert hanging.taken == []
        wait_until(lambda: any("lastError" in one for one in deliveries(account, webhook)))
        errors = {one.get("lastError") for one in deliveries(account, webhook)} - {None}
        assert errors == {"no answer within 15 s"}
        again = house.receiver.hook()
        add_webhook(account, again)
        house.end_periods(account, meters)
        again.wait_for_taken(60)
    finally:
        let_go.set()
    wait_until(lambda: len({call.id for call in hanging.taken}) == 120)
    first_taken = {}
    for call in hanging.taken:
        first_taken.setdefault(call.id, call)
    assert all(starts == sorted(starts) for starts in starts_by_meter(first_taken.values()).values())


def test_many_that_are_due_for_one_that_fails_do_not_starve_another(house, account):
    dead, fine = house.receiver.hook(500), house.receiver.hook()
    webhook = add_webhook(account, dead)
    house.end_periods(account, add_meters(account, 150))
    dead.wait_for_calls(1)
    with house.account() as other:
        add_webhook(other, fine)
        house.end_periods(other, add_meters(other, 20))
        fine.wait_for_taken(20)
    assert len(deliveries(account, webhook)) == 100  # a page of the 150
    account.delete(f"/webhooks/{webhook['id']}")


def test_both_secrets_sign_for_a_day_after_a_rotation(house, account):
    hook = house.receiver.hook()
    old = add_webhook(account, hook)
    add_meters(account, resetSchedule=EVERY_DAY)
    new = ok(account.post(f"/webhooks/{old['id']}/rotate-secret", {}))
    house.advance(account, hours=23, seconds=59 * 60)
    [during] = hook.wait_for_taken(1)
    assert len(during.headers["webhook-signature"].split(" ")) == 2
    verified(during, old)
    verified(during, new)
    house.advance(account, hours=24)
    after = hook.wait_for_taken(2)[1]
    assert len(after.headers["webhook-signature"].split(" ")) == 1
    verified(after, new)
    with pytest.raises(WebhookVerificationError):
        verified(after, old)
    account.delete(f"/webhooks/{old['id']}")


def test_one_that_is_switched_off_gets_nothing_new_and_later_what_waited(house, account):
    hook = house.receiver.hook(500)
    webhook = add_webhook(account, hook)
    meters = add_meters(account, 3)
    house.end_periods(account, meters)
    hook.wait_for_calls(3)
    ok(account.patch(f"/webhooks/{webhook['id']}", {"status": "DISABLED"}))
    hook.answer = 200
    wait_until(lambda: all(one["attempts"] for one in deliveries(account, webhook)))
    house.end_periods(account, meters)
    house.advance(account, hours=1)
    house.settle(account)  # what waits is not due
    assert hook.taken == []
    waiting = deliveries(account, webhook)
    assert len(waiting) == 3
    ok(account.patch(f"/webhooks/{webhook['id']}", {"status": "ACTIVE"}))
    hook.wait_for_taken(3)
    assert {call.id for call in hook.taken} == {one["id"] for one in waiting}
    account.delete(f"/webhooks/{webhook['id']}")


def test_one_that_is_switched_on_again_has_another_day(house, account):
    hook = house.receiver.hook(500)
    webhook = add_webhook(account, hook)
    house.end_periods(account, add_meters(account))
    hook.wait_for_calls(1)
    ok(account.patch(f"/webhooks/{webhook['id']}", {"status": "DISABLED"}))
    wait_until(lambda: "lastError" in deliveries(account, webhook)[0])
    with house.database() as database:
        database.execute("DELETE FROM meters")
    house.advance(account, days=2)
    calls = len(hook.calls)
    ok(account.patch(f"/webhooks/{webhook['id']}", {"status": "ACTIVE"}))
    hook.wait_for_calls(calls + 2)
    assert deliveries(account, webhook, status="parked") == []
    hook.answer = 200
    hook.wait_for_taken(1)


def test_a_day_of_failing_parks_one_and_the_next_of_its_meter_has_its_turn(house, account):
    hook = house.receiver.hook(500)
    webhook = add_webhook(account, hook)
    [meter] = add_meters(account, resetSchedule=EVERY_DAY)
    house.advance(account, days=1)
    [first] = hook.wait_for_calls(1)[:1]
    house.advance(account, hours=23)
    wait_until(lambda: deliveries(account, webhook)[0]["attempts"] >= 2)
    assert deliveries(account, webhook, status="parked") == []
    house.advance(account, hours=2)
    wait_until(lambda: deliveries(account, webhook, status="parked"))
    [parked] = deliveries(account, webhook, status="parked")
    assert (parked["id"], parked["lastError"], parked["meterId"]) == (first.id, "answered 500", meter["id"])
    assert "nextAttemptAt" not in parked
    house.settle(account)
    calls = len([call for call in hook.calls if call.id == first.id])
    hook.answer = 200
    [later] = hook.wait_for_taken(1)
    assert later.id != first.id
    house.advance(account, hours=1)
    house.settle(account)
    assert len([call for call in hook.calls if call.id == first.id]) == calls
    assert len(deliveries(account, webhook)) == 1
    assert ok(account.post(f"/webhooks/{webhook['id']}/deliveries/retry", {"ids": ["msg_0"]})) == {"retriedCount": 0}
    assert ok(account.post(f"/webhooks/{webhook['id']}/deliveries/retry", {"ids": [first.id]})) == {"retriedCount": 1}
    hook.wait_for_taken(2)
    wait_until(lambda: deliveries(account, webhook) == [])
    assert hook.taken[1].id == first.id
    assert hook.taken[1].body == first.body


def test_all_that_is_parked_can_be_retried_at_once_for_another_day(house, account):
    hook = house.receiver.hook(500)
    webhook = add_webhook(account, hook)
    add_meters(account, 5, resetSchedule=make_schedule())
    house.advance(account, days=31)
    hook.wait_for_calls(5)
    wait_until(lambda: all("lastError" in one for one in deliveries(account, webhook)))
    house.advance(account, days=1)
    wait_until(lambda: len(deliveries(account, webhook, status="parked")) == 5)
    calls = len(hook.calls)
    assert ok(account.client.post(f"/webhooks/{webhook['id']}/deliveries/retry")) == {"retriedCount": 5}
    hook.wait_for_calls(calls + 5)
    assert len(deliveries(account, webhook, status="pending")) == 5
    hook.answer = 200
    hook.wait_for_taken(5)
    assert ok(account.post(f"/webhooks/{webhook['id']}/deliveries/retry", {})) == {"retriedCount": 0}


def test_one_that_is_gone_is_switched_off_and_its_delivery_parked(house, account):
    hook = house.receiver.hook(410)
    webhook = add_webhook(account, hook)
    house.end_periods(account, add_meters(account, 1))
    wait_until(lambda: ok(account.get(f"/webhooks/{webhook['id']}"))["status"] == "DISABLED")
    [parked] = deliveries(account, webhook)
    assert (parked["status"], parked["lastError"]) == ("parked", "answered 410")
    hook.answer = 200
    ok(account.patch(f"/webhooks/{webhook['id']}", {"status": "ACTIVE"}))
    account.post(f"/webhooks/{webhook['id']}/deliveries/retry", {})
    hook.wait_for_taken(1)


def test_a_name_that_leads_to_this_machine_is_refused_when_it_is_called(house, account):
    name = f"{socket.gethostname()}:{house.receiver.server_port}"
    webhook = created(account.post("/webhooks", {"url": f"http://{name}/"}))
    house.end_periods(account, add_meters(account))
    wait_until(lambda: "lastError" in deliveries(account, webhook)[0])
    error = deliveries(account, webhook)[0]["lastError"]
    assert "is not public" in error or "is unknown" in error
    account.delete(f"/webhooks/{webhook['id']}")


def test_a_webhook_that_is_deleted_takes_its_deliveries_with_it(house, account):
    hook = house.receiver.hook(500)
    webhook = add_webhook(account, hook)
    house.end_periods(account, add_meters(account, 3))
    hook.wait_for_calls(1)
    ok(account.delete(f"/webhooks/{webhook['id']}"))
    with house.database() as database:
        left = database.execute("SELECT count(*) FROM deliveries WHERE webhook_id = %s", [webhook["id"]]).fetchone()
    assert left == (0,)


def test_a_new_url_gets_what_waits_for_the_old_one(house, account):
    old, new = house.receiver.hook(500), house.receiver.hook()
    webhook = add_webhook(account, old)
    house.end_periods(account, add_meters(account))
    old.wait_for_calls(1)
    ok(account.patch(f"/webhooks/{webhook['id']}", {"url": new.url}))
    [call] = new.wait_for_taken(1)
    assert call.id == old.calls[0].id
