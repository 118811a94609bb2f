"""How long is kept what was sent, what reached writers, what was logged, and the runs themselves.

The rows are of the year 2100, so that the workers of other tests do not find them old.
"""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from meterhouse.database import make_engine
from meterhouse.streams import retention_store
from meterhouse.streams.run_store import read_inbox
from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    collector_id,
    counting,
    edge,
    imported,
    make_document,
    node,
    run_to_the_end,
    send,
    start_worker,
    until,
    worker,
)

THEN = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def database(installation):
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        yield database


@pytest.fixture
def forget(installation):
    """`forget(function, now, limit)`: one round of a job."""

    async def run(function, now, limit):
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 1)
        async with engine.begin() as connection:
            count = await function(connection, now, limit)
        await engine.dispose()
        return count

    return lambda function, now, limit=1_000_000: asyncio.run(run(function, now, limit))


def reading(collector, **members):
    nodes = [node("collect", "readers/online_collection", collectorId=collector), node("log", "writers/noop")]
    return make_document(nodes, [edge("collect", "log")], **members)


@pytest.fixture
def deploy(client, imported):
    deployed = []

    def run(document, **members):
        made = imported(document, **members)
        client.post(f"{STREAMS}/{made['id']}/deploy").raise_for_status()
        deployed.append(made["id"])
        return made["id"]

    yield run
    for stream_id in deployed:
        client.post(f"{STREAMS}/{stream_id}/undeploy")


@pytest.fixture
def fill(client, collector_id, database):
    """`fill(2, 9)`: rows that are so many days old at THEN; their ingestion ids."""

    def run(*days):
        ids = [send(client, collector_id, {"days": one}) for one in days]
        for ingestion_id, one in zip(ids, days, strict=True):
            statement = "UPDATE inbox SET received_at = %s WHERE ingestion_id = %s"
            database.execute(statement, (THEN - timedelta(days=one), ingestion_id))
        return ids

    return run


@pytest.fixture
def status(client, collector_id):
    """Of ingestions, None where there is no trace of one any more."""

    def run(*ids):
        answers = [client.get(f"/online-collection/v1/collectors/{collector_id}/ingestions/{one}") for one in ids]
        return [answer.json().get("status") if answer.status_code == 200 else None for answer in answers]

    return run


def test_what_was_sent_is_kept_for_seven_days_and_until_every_deployed_stream_has_read_it(
    database,
    deploy,
    fill,
    forget,
    status,
    collector_id,
    client,
    worker,
):
    reader = deploy(reading(collector_id))
    ids = fill(9, 8, 6)
    until(lambda: status(*ids) == ["PROCESSED"] * 3)
    # A second one, deployed but without a run, as if it had been aborted before it read anything.
    aborted = deploy(reading(collector_id))
    until(lambda: database.execute("SELECT FROM collector_reads WHERE stream_id = %s", (aborted,)).fetchall())
    database.execute("UPDATE stream_runs SET status = 'aborted', ended_at = now() WHERE stream_id = %s", (aborted,))
    database.execute("DELETE FROM collector_reads WHERE stream_id = %s", (aborted,))

    forget(retention_store.delete_consumed, THEN)
    assert status(*ids) == ["PROCESSED"] * 3
    client.post(f"{STREAMS}/{aborted}/undeploy").raise_for_status()
    forget(retention_store.delete_consumed, THEN)
    assert status(*ids) == [None, None, "PROCESSED"]
    later = fill(8)
    until(lambda: status(*later) == ["PROCESSED"])
    assert client.get(f"{STREAMS}/{reader}").status_code == 200


def test_without_a_deployed_stream_seven_days_are_all(fill, forget, status):
    ids = fill(9, 6)
    forget(retention_store.delete_consumed, THEN)
    assert status(*ids) == [None, "STORED"]


def test_one_round_deletes_so_many_of_the_oldest(fill, forget, status, collector_id):
    forget(retention_store.delete_consumed, THEN)
    ids = fill(9, 9, 9)
    assert forget(retention_store.delete_consumed, THEN, 2) == 2
    assert status(*ids) == [None, None, "STORED"]
    assert forget(retention_store.delete_consumed, THEN, 2) == 1


def test_outputs_and_log_lines_are_kept_for_a_month_and_runs_for_half_a_year(
    client, imported, worker, database, forget
):
    script = node("script", "transforms/script", transform="log.info('%d', payload.value); await push(payload)")
    stream_id = imported(counting(3, script, edges=[("count", "script"), ("script", "log")]))["id"]
    run = run_to_the_end(client, stream_id)
    path = f"{STREAMS}/{stream_id}/runs/{run['id']}"

    def kept():
        return [len(client.get(f"{path}/{name}").json()[name]) for name in ("outputs", "log")]

    assert kept() == [3, 3]
    for table, column in (("stream_outputs", "reached_at"), ("stream_log", "logged_at")):
        lines = "SELECT line_no, row_number() OVER (ORDER BY line_no) AS n FROM " + table + " WHERE run_id = %s"
        statement = f"UPDATE {table} t SET {column} = %s - make_interval(days => n::int + 28) FROM ({lines}) o"
        database.execute(statement + " WHERE o.line_no = t.line_no", (THEN, run["id"]))
    for forgotten in (retention_store.delete_old_outputs, retention_store.delete_old_log):
        forget(forgotten, THEN)
    assert kept() == [2, 2]
    for days, status in ((179, 200), (181, 404)):
        ended = THEN - timedelta(days=days)
        database.execute("UPDATE stream_runs SET ended_at = %s WHERE id = %s", (ended, run["id"]))
        forget(retention_store.delete_old_runs, THEN)
        assert client.get(path).status_code == status
    assert database.execute("SELECT count(*) FROM stream_log WHERE run_id = %s", (run["id"],)).fetchone() == (0,)


REMEMBER = "await persist.set('a', 1); session.data.n = 1; session.setTimeout(Date.UTC(2100, 0, 1))"


def test_what_functions_remember_goes_with_their_stream(client, imported, worker, database):
    unique = {"fixed": {"unique": {"id": "u"}}}
    document = make_document(
        [
            node("count", "readers/counter", max=3),
            node("first", "transforms/deduplicate", key="${payload.value}", multiOutput=unique),
            node("fill", "transforms/script_aggregate", groupByRules=[{"fields": ["value"]}], onTransform=REMEMBER),
        ],
        [edge("count", "first"), edge("first", "fill", "u")],
    )
    made = imported(document)
    other = imported(document, conflictStrategy="createNew")

    def remembered(stream):
        store_id = stream["aggregationStores"]["fill"]
        asked = {
            "SELECT count(*) FROM aggregation_sessions WHERE store_id = %s": store_id,
            "SELECT count(*) FROM stream_dedup_keys WHERE stream_id = %s": stream["id"],
            "SELECT count(*) FROM stream_persist WHERE scope = %s": f"{stream['id']}/fill",
        }
        return [database.execute(query, (value,)).fetchone()[0] for query, value in asked.items()]

    for stream in (made, other):
        assert run_to_the_end(client, stream["id"])["status"] == "completed"
        assert remembered(stream) == [3, 3, 1]
    assert client.delete(f"{STREAMS}/{made['id']}").json() == {"deletedCount": 1}
    assert (remembered(made), remembered(other)) == ([0, 0, 0], [3, 3, 1])


def test_a_slice_ends_with_what_makes_it_large(installation, tenant, client, imported, collector_id):
    stream_id = imported(reading(collector_id))["id"]
    ids = [send(client, collector_id, {"text": "x" * 900_000}) for _ in range(4)]
    ids += [send(client, collector_id, {"n": n}) for n in range(3)]
    run = (uuid.UUID(tenant.account_id), uuid.UUID(stream_id), uuid.uuid4())

    async def read_all():
        engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 1)
        async with engine.connect() as connection:
            slices = [await read_inbox(connection, run, uuid.UUID(collector_id), 5) for _ in range(4)]
            await connection.rollback()
        await engine.dispose()
        return slices

    slices = asyncio.run(read_all())
    assert [len(rows) for rows in slices] == [3, 4, 0, 0]
    assert [str(row["ingestion_id"]) for rows in slices for row in rows] == ids
