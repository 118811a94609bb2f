"""Workers that are killed, stopped, or many: each record arrives, in order, and what arrives twice has one id."""

import threading
from collections import defaultdict

import pytest
from standardwebhooks import Webhook

from tests.webhooks.house import add_meters, add_webhook, deliveries
from tests.webhooks.test_deliveries import meter_by_stream, starts_by_meter, wait_until


@pytest.fixture(autouse=True)
def _no_workers(house):
    yield
    house.stop_workers()


def end_leases(house):
    """What a dead worker has leased is free at once, and not after a minute."""
    with house.database() as database:
        database.execute("UPDATE deliveries SET leased_until = now() - interval '1 second' WHERE leased_until > now()")


def test_a_worker_killed_between_call_and_commit_makes_a_second_call_with_the_same_id(house, account):
    called, answer = threading.Event(), threading.Event()

    def hold(call):
        called.set()
        answer.wait()
        return 200

    hook = house.receiver.hook(hold)
    webhook = add_webhook(account, hook)
    worker = house.start_worker()
    meters = add_meters(account)
    house.end_periods(account, meters, 3)
    assert called.wait(60)
    worker.kill()
    worker.wait()
    answer.set()
    hook.wait_for_taken(1)
    [first, *others] = deliveries(account, webhook)
    assert first["id"] == hook.calls[0].id
    assert len(others) == 2
    house.start_worker()
    end_leases(house)
    wait_until(lambda: deliveries(account, webhook) == [])
    assert [call.id for call in hook.calls] == [first["id"], first["id"], *(one["id"] for one in others)]
    assert hook.calls[0].body == hook.calls[1].body
    for call in hook.calls:
        Webhook(webhook["secret"]).verify(call.body, call.headers)


def test_a_killed_workers_lease_keeps_the_delivery_from_others_until_it_runs_out(house, account):
    called = threading.Event()
    hook = house.receiver.hook(lambda call: called.set() or threading.Event().wait(60) or 200)
    webhook = add_webhook(account, hook)
    worker = house.start_worker()
    house.end_periods(account, add_meters(account))
    assert called.wait(60)
    worker.kill()
    worker.wait()
    hook.answer = 200
    other = house.receiver.hook()
    second = add_webhook(account, other)
    house.start_worker()
    house.end_periods(account, add_meters(account))
    other.wait_for_taken(1)  # the new worker is at it, and has left the first alone
    assert len(hook.calls) >= 1
    assert hook.calls[0].id not in {call.id for call in hook.calls[1:]}
    end_leases(house)
    wait_until(lambda: deliveries(account, webhook) == [] == deliveries(account, second))
    assert [call.id for call in hook.calls].count(hook.calls[0].id) == 2


def test_a_worker_that_is_stopped_finishes_the_call_that_is_under_way(house, account):
    called, answer = threading.Event(), threading.Event()

    def hold(call):
        called.set()
        answer.wait()
        return 200

    hook = house.receiver.hook(hold)
    webhook = add_webhook(account, hook)
    worker = house.start_worker()
    house.end_periods(account, add_meters(account), 2)
    assert called.wait(60)
    worker.terminate()
    threading.Timer(1, answer.set).start()
    assert worker.wait(timeout=30) == 0
    assert len(hook.calls) == 1
    assert len(deliveries(account, webhook)) == 1


def test_workers_killed_again_and_again_lose_nothing_and_keep_the_order(house, account):
    """The order in which records are first taken, meter by meter; what is taken twice has the same id and body."""
    hook = house.receiver.hook()
    webhook = add_webhook(account, hook)
    house.start_worker()
    meters = add_meters(account, 20)
    house.end_periods(account, meters, 20)
    for round_no in range(6):
        hook.wait_for_taken(round_no * 40 + 1)
        house.workers[-1].kill()
        house.workers[-1].wait()
        end_leases(house)
        house.start_worker()
    end_leases(house)
    wait_until(lambda: deliveries(account, webhook) == [])
    bodies = defaultdict(set)
    first = {}
    for call in hook.taken:
        bodies[call.id].add(call.body)
        first.setdefault(call.id, call)
    assert len(bodies) == 400
    assert all(len(one) == 1 for one in bodies.values())
    taken = starts_by_meter(first.values())
    assert {meter_id: len(starts) for meter_id, starts in taken.items()} == {meter["id"]: 20 for meter in meters}
    assert all(starts == sorted(starts) for starts in taken.values())


def test_two_workers_deliver_each_record_once_and_never_two_of_a_meter_at_a_time(house, account):
    under_way, together, lock = set(), [], threading.Lock()

    def answer(call):
        meter_id = call.data["id"]
        with lock:
            if meter_id in under_way:
                together.append(meter_id)
            under_way.add(meter_id)
        threading.Event().wait(0.01)
        with lock:
            under_way.discard(meter_id)
        return 200

    hook = house.receiver.hook(answer)
    webhook = add_webhook(account, hook)
    house.start_worker()
    house.start_worker()
    meters = add_meters(account, 30)
    house.end_periods(account, meters, 10)
    house.end_periods(account, meters, 5)
    wait_until(lambda: deliveries(account, webhook) == [])
    assert together == []
    assert len(hook.calls) == len({call.id for call in hook.calls}) == 450
    assert all(starts == sorted(starts) for starts in starts_by_meter(hook.calls).values())


def test_records_that_come_one_by_one_while_two_workers_deliver_keep_their_order(house, account):
    """Each is committed on its own while those before it are being delivered and taken away."""
    hook = house.receiver.hook()
    webhook = add_webhook(account, hook)
    house.start_worker()
    house.start_worker()
    thresholds = [{"name": str(limit), "absoluteValue": limit, "customFields": {}} for limit in (1, 2, 3, 4, 5)]
    meter, use = meter_by_stream(account, house, thresholds=thresholds)
    for period in range(1, 9):
        for _ in range(5):
            use("1")
        hook.wait_for_calls(period * 6 - 1)
        house.end_periods(account, [meter])
    hook.wait_for_taken(48)
    wait_until(lambda: deliveries(account, webhook) == [])
    names = [call.data.get("thresholdReached", {}).get("name", "reset") for call in hook.calls]
    assert names == ["1", "2", "3", "4", "5", "reset"] * 8
