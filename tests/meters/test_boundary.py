"""Usage that races the end of a period, and many meters that are due at once, with workers that die."""

import asyncio
import time
from datetime import timedelta

import httpx

from tests.conftest import TLS
from tests.sandbox import copy_meter, open_sandbox, parse, until
from tests.usage_engine import make_schedule

SENDERS = 50
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def test_usage_of_fifty_senders_is_in_one_of_the_two_periods(customer):
    with customer.metering() as stream:
        stream.deploy()
        kind = customer.add_type(resetSchedule=make_schedule(day="*"))
        meters = [stream.add_meter(kind) for _ in range(5)]
        customer.set_clock(parse(meters[0]["periodEnd"]) - HOUR)
        stream.send(*({"userId": meter["userId"], "value": 1} for meter in meters))
        customer.settle()
        sent = asyncio.run(send_over_midnight(customer, stream, meters))
        customer.settle()
        for place, meter in enumerate(meters):
            [first] = customer.periods(meter)
            assert first["periodEnd"] == meter["periodEnd"]
            after = customer.meter(meter)
            assert first["value"] + after["value"] == sent[place] + 1
            assert first["recordCount"] + after["meterMetaData"]["count"] == sent[place] + 1
            assert first["value"] > 0
            assert after["value"] > 0
        assert stream.rejected() == []


async def send_over_midnight(customer, stream, meters):
    """How much was acknowledged, by place of the meter. The clock is moved two hours on while all are sending."""
    sent = [0 for _ in meters]
    over = asyncio.Event()
    path = f"/online-collection/v1/collectors/{stream.collector_id}/send"
    options = {"limits": httpx.Limits(max_connections=SENDERS + 1), "timeout": 60, "verify": TLS}
    base_url, headers = customer.client.base_url, customer.client.headers
    async with httpx.AsyncClient(base_url=base_url, headers=headers, **options) as client:

        async def send(place):
            answer = await client.post(path, json={"data": {"userId": meters[place]["userId"], "value": 1}})
            assert answer.status_code == 202, answer.text
            sent[place] += 1

        async def send_on(number):
            while not over.is_set():
                await send(number % len(meters))
            await send(number % len(meters))  # surely behind the second move

        async def clock():
            for _ in range(2):
                await asyncio.sleep(0.3)
                answer = await client.post("/sandbox/v1/clock/advance", json={"seconds": HOUR.total_seconds()})
                assert answer.status_code == 200
            await asyncio.sleep(0.3)
            over.set()

        await asyncio.gather(clock(), *(send_on(number) for number in range(SENDERS)))
    return sent


METERS = 20_000


def test_meters_that_are_due_at_once_are_closed_once_each_though_a_worker_dies_again_and_again(
    installation, start_api, tmp_path_factory
):
    with open_sandbox(installation, start_api, tmp_path_factory) as sandbox, sandbox.open_customer() as customer:
        kind = customer.add_type(resetSchedule=make_schedule(day="*"))
        model = customer.add_meter(kind)
        with sandbox.database() as database:
            copy_meter(database, model["id"], METERS - 1)
            customer.set_clock(parse(model["periodEnd"]) + SECOND)
            sandbox.start_worker()

            def left():
                return database.execute("SELECT count(*) FROM meters WHERE period_start < %s", (model["periodEnd"],))

            kills = 0
            while left().fetchone()[0]:
                victim = sandbox.start_worker()
                before = left().fetchone()[0]
                until(lambda before=before: left().fetchone()[0] < before or not left().fetchone()[0], seconds=60)
                time.sleep(0.2)
                victim.kill()
                victim.wait()
                sandbox.workers.remove(victim)
                kills += 1
            customer.settle()
            assert kills > 0
            rows = database.execute(
                """
                SELECT count(*), count(DISTINCT meter_id), min(record_no), max(record_no), count(DISTINCT period_start)
                FROM metered_records WHERE kind = 'reset'
                """
            ).fetchone()
            assert rows == (METERS, METERS, 1, METERS, 1)
            ends = database.execute("SELECT DISTINCT period_start, close_error FROM meters").fetchall()
            assert ends == [(parse(model["periodEnd"]), None)]
