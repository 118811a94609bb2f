"""Which webhooks a metered record is written for, in the transaction that writes it."""

import asyncio
import threading
from uuid import UUID

import psycopg

from meterhouse import clock
from meterhouse.database import make_engine
from meterhouse.webhooks.store import add_deliveries
from tests.webhooks.house import add_meters, add_webhook, deliveries
from tests.webhooks.test_deliveries import wait_until


def test_a_webhook_that_is_being_deleted_does_not_make_the_metering_transaction_fail(house, account):
    house.start_worker()
    house.end_periods(account, add_meters(account))
    house.stop_workers()
    doomed, kept = (add_webhook(account, house.receiver.hook()) for _ in range(2))
    url = house.installation.environment["METERHOUSE_DATABASE_URL"]

    async def fan_out():
        engine = make_engine(url, 1)
        async with engine.begin() as connection:
            await add_deliveries(connection, UUID(account.id), (1, 1), clock.now())
        await engine.dispose()

    failed = []

    def run():
        try:
            asyncio.run(fan_out())
        except Exception as error:  # noqa: BLE001 - it is the result
            failed.append(error)

    metering = threading.Thread(target=run)
    with psycopg.connect(url.replace("+psycopg", "")) as deleting:
        deleting.execute("DELETE FROM webhooks WHERE id = %s", [doomed["id"]])
        metering.start()
        with house.database() as looking:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: looking.execute(waiting).fetchone() != (0,))
    metering.join()
    assert failed == []
    assert [one["recordNo"] for one in deliveries(account, kept)] == [1]
