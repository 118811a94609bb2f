"""Data correction: what a function rejects is listed, corrected, sent in again at that function, deleted."""

import asyncio
import json
import uuid
from datetime import UTC, datetime

import psycopg
import pytest

from meterhouse import clock
from meterhouse.database import make_engine
from meterhouse.streams.correction_store import delete_forgotten_records
from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    counting,
    make_document,
    make_meter,
    metering,
    node,
    outputs,
    run_to_the_end,
    send,
    start_worker,
    until,
    worker,
)
from tests.tenants import make_tenant, paths_of, refused

# ruff: noqa: F811 - the fixtures that are imported are the parameters

RECORDS = "/data-correction/v1/records"


@pytest.fixture
def database(installation):
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as database:
        yield database


def import_stream(client, document):
    answer = client.post(f"{STREAMS}/import", json={"stream": document})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def small(client, worker):
    """A stream that has counted to 5 and takes no 3 and no 4."""
    check = node("small", "transforms/validate", schema={"properties": {"value": {"maximum": 2}}})
    stream_id = import_stream(client, counting(5, check, edges=[("count", "small"), ("small", "log")]))["id"]
    run_to_the_end(client, stream_id)
    return stream_id


def records(client, stream_id, **filters):
    answer = client.get(RECORDS, params={"streamId": stream_id, "limit": 100} | filters)
    assert answer.status_code == 200, answer.text
    return answer.json()["records"]


def act(client, action, **body):
    answer = client.post(f"{RECORDS}/{action}", json=body)
    assert answer.status_code == 200, answer.text
    (count,) = answer.json().values()
    return count


def by_value(client, stream_id):
    return {record["payload"]["value"]: record["id"] for record in records(client, stream_id)}


def test_rejected_records_are_listed_with_their_function_and_reason(client, small):
    found = records(client, small)
    assert sorted(record["payload"]["value"] for record in found) == [3, 4]
    three = next(record for record in found if record["payload"] == {"value": 3})
    assert (three["streamId"], three["nodeId"], three["nodeName"], three["status"]) == (small, "small", "Small", "open")
    assert "3 is greater than the maximum of 2" in three["error"]
    assert three["createdAt"] == three["updatedAt"]


def test_the_filters_hold_together(client, small):
    three = next(record for record in records(client, small) if record["payload"] == {"value": 3})
    assert records(client, small, error=three["error"]) == [three]
    assert records(client, small, error=three["error"], nodeId="log") == []
    assert records(client, small, status="queued") == []
    assert len(records(client, small, **{"from": "2020-01-01T00:00:00Z"})) == 2
    assert records(client, small, to="2020-01-01T00:00:00Z") == []
    assert records(client, small, limit=1, skip=1) == records(client, small)[1:]


def test_the_summary_counts_by_stream_function_and_error(client, small):
    three = next(record for record in records(client, small) if record["payload"] == {"value": 3})
    run_to_the_end(client, small)
    params = {"streamId": small, "summary": "true", "error": three["error"]}
    line = {name: three[name] for name in ("streamId", "nodeId", "nodeName", "error")}
    assert client.get(RECORDS, params=params).json() == {"summary": [line | {"count": 2}]}
    assert len(client.get(RECORDS, params=params | {"error": "another"}).json()["summary"]) == 0


def test_corrected_and_requeued_records_go_in_again_at_their_function(client, small):
    """A record that is still wrong is rejected anew; the other goes on, and leaves Data correction."""
    ids = by_value(client, small)
    assert act(client, "correct", ids=[ids[3]], payload={"value": 1, "note": 0.10}) == 1
    assert act(client, "correct", ids=list(ids.values()), changes={"by": "hand", "note": None}) == 2
    assert sorted(json.dumps(record["payload"], sort_keys=True) for record in records(client, small)) == [
        '{"by": "hand", "note": null, "value": 1}',
        '{"by": "hand", "note": null, "value": 4}',
    ]
    assert {record["status"] for record in records(client, small)} == {"open"}
    assert act(client, "requeue", filter={"streamId": small, "nodeId": "small"}) == 2
    assert act(client, "requeue", ids=list(ids.values())) == 0
    assert {record["status"] for record in records(client, small)} == {"queued"}
    run = run_to_the_end(client, small)
    assert (run["nodes"]["count"]["out"], run["nodes"]["small"]) == (5, {"in": 7, "out": 4, "rejected": 3})
    assert {"by": "hand", "note": None, "value": 1} in [payload for _, payload in outputs(client, run)]
    assert sorted(record["payload"]["value"] for record in records(client, small)) == [3, 4, 4]
    assert not set(ids.values()) & {record["id"] for record in records(client, small)}


def test_a_queued_record_that_is_corrected_waits_again(client, small):
    ids = list(by_value(client, small).values())
    act(client, "requeue", ids=ids)
    act(client, "correct", ids=ids[:1], changes={"x": 1})
    assert sorted(record["status"] for record in records(client, small)) == ["open", "queued"]


def test_usage_that_was_corrected_is_counted_once(client, worker):
    collector_id = client.post("/online-collection/v1/collectors", json={"name": uuid.uuid4().hex}).json()["id"]
    made = import_stream(client, metering(collector_id))
    meter_id = make_meter(client, made["meterKeys"]["meter"], "eve")
    client.post(f"{STREAMS}/{made['id']}/deploy").raise_for_status()
    for value in (1.5, 2.25):
        send(client, collector_id, {"user": "eve", "value": value, "exact": 12345678901234567890})
    until(lambda: len(records(client, made["id"], error="userId is missing")) == 2)
    ids = [record["id"] for record in records(client, made["id"])]
    assert act(client, "correct", ids=ids, changes={"userId": "eve"}) == 2
    assert {record["payload"]["exact"] for record in records(client, made["id"])} == {12345678901234567890}
    assert act(client, "requeue", filter={"streamId": made["id"]}) == 2
    until(lambda: client.get(f"/usage-metering/v1/meters/{meter_id}").json()["value"] == 3.75)
    assert records(client, made["id"]) == []
    (run,) = client.get(f"{STREAMS}/{made['id']}/runs").json()["runs"]
    assert (run["nodes"]["collect"]["out"], run["nodes"]["meter"]["in"]) == (2, 4)
    client.post(f"{STREAMS}/{made['id']}/undeploy")
    client.delete(f"/online-collection/v1/collectors/{collector_id}")


def test_deleted_records_are_gone_and_their_stream_may_go_too(client, small):
    ids = by_value(client, small)
    refused(client.delete(f"{STREAMS}/{small}"), 409)
    assert act(client, "delete", ids=[ids[3], str(uuid.uuid4())]) == 1
    assert list(by_value(client, small)) == [4]
    assert act(client, "delete", filter={"streamId": small}) == 1
    assert client.delete(f"{STREAMS}/{small}").json() == {"deletedCount": 1}


def test_all_of_an_actions_filter_must_hold(client, small):
    ids = by_value(client, small)
    rejected = [record["createdAt"] for record in records(client, small)]
    all_of_it = {"streamId": small, "nodeId": "small", "from": min(rejected), "to": "2100-01-01T00:00:00Z"}
    assert act(client, "requeue", filter=all_of_it | {"status": "open", "nodeId": "log"}) == 0
    assert act(client, "requeue", filter=all_of_it | {"status": "open", "to": min(rejected)}) == 0
    assert act(client, "requeue", filter=all_of_it | {"status": "open"}) == 2
    act(client, "correct", ids=[ids[3]], changes={"by": "hand"})
    assert act(client, "delete", filter=all_of_it | {"status": "queued", "from": "2100-01-01T00:00:00Z"}) == 0
    assert act(client, "delete", filter=all_of_it | {"status": "queued"}) == 1
    assert list(by_value(client, small)) == [3]


def test_another_account_sees_and_touches_nothing(client, stranger, small):
    before = records(client, small)
    ids = [record["id"] for record in before]
    assert records(stranger, small) == []
    assert stranger.get(RECORDS, params={"summary": "true"}).json() == {"summary": []}
    for chosen in ({"ids": ids}, {"filter": {"streamId": small}}):
        assert act(stranger, "requeue", **chosen) == 0
        assert act(stranger, "delete", **chosen) == 0
    assert act(stranger, "correct", ids=ids, changes={"value": 0}) == 0
    assert act(stranger, "correct", ids=ids[:1], payload={}) == 0
    assert records(client, small) == before


def test_reading_does_not_allow_to_change(installation, api):
    with make_tenant(installation, api.base_url, "read:data_correction").client() as reader:
        assert reader.get(RECORDS).json() == {"records": []}
        for action in ("correct", "requeue", "delete"):
            refused(reader.post(f"{RECORDS}/{action}", json={"ids": [str(uuid.uuid4())]}), 401)


ID = str(uuid.uuid4())
DEEP = json.loads("[" * 120 + "]" * 120)


@pytest.mark.parametrize(
    ("action", "body", "path"),
    [
        ("correct", {"changes": {"a": 1}}, "ids"),
        ("correct", {"ids": [], "changes": {"a": 1}}, "ids"),
        ("correct", {"ids": [ID, "x"], "changes": {"a": 1}}, "ids[1]"),
        ("correct", {"ids": [ID]}, "payload"),
        ("correct", {"ids": [ID], "payload": None}, "payload"),
        ("correct", {"ids": [ID], "payload": [1]}, "payload"),
        ("correct", {"ids": [ID, str(uuid.uuid4())], "payload": {}}, "ids"),
        ("correct", {"ids": [ID], "payload": {}, "changes": {"a": 1}}, "changes"),
        ("correct", {"ids": [ID], "changes": {}}, "changes"),
        ("correct", {"ids": [ID], "changes": {"a": "\x00"}}, "changes"),
        ("correct", {"ids": [ID], "changes": {"a": "x" * 17_000}}, "changes"),
        ("correct", {"ids": [ID], "payload": {"a": "\ud800"}}, "payload"),
        ("correct", {"ids": [ID], "payload": {"a": DEEP}}, "payload"),
        ("correct", {"ids": [ID], "payload": {}, "more": 1}, "more"),
        ("requeue", {}, "ids"),
        ("requeue", {"ids": None}, "ids"),
        ("requeue", {"ids": [ID], "filter": {"nodeId": "a"}}, "filter"),
        ("requeue", {"filter": {}}, "filter"),
        ("requeue", {"filter": {"streamId": None, "nodeId": "a"}}, "filter.streamId"),
        ("requeue", {"filter": {"streamId": "x"}}, "filter.streamId"),
        ("requeue", {"filter": {"status": "queued"}}, "filter.status"),
        ("requeue", {"filter": {"from": "yesterday"}}, "filter.from"),
        ("requeue", {"filter": {"node": "a"}}, "filter.node"),
        ("delete", {"filter": {"error": ""}}, "filter.error"),
        ("delete", {"filter": {"nodeId": "\x00"}}, "filter.nodeId"),
    ],
)
def test_a_bad_body_names_what_is_bad(client, action, body, path):
    answer = client.post(f"{RECORDS}/{action}", content=json.dumps(body))
    assert paths_of(refused(answer, 400)) == [path]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("streamId", "x"),
        ("from", "x"),
        ("to", "1"),
        ("status", "done"),
        ("error", ""),
        ("limit", "0"),
        ("summary", "?"),
        ("summary", "yes"),
        ("summary", "1"),
    ],
)
def test_a_bad_filter_is_named(client, name, value):
    assert paths_of(refused(client.get(RECORDS, params={name: value}), 400)) == [name]


def fill(database, account_id, stream_id, amount, at):
    statement = """
        INSERT INTO rejected_records (account_id, stream_id, id, run_id, node_id, node_name, error, payload, meta,
            status, created_at, updated_at)
        SELECT %(account)s, %(stream)s, gen_random_uuid(), gen_random_uuid(), 'node', 'Node', 'error',
            '{"value": 1}', '{}', 'open', %(at)s, %(at)s FROM generate_series(1, %(amount)s)
        RETURNING id
    """
    values = {"account": account_id, "stream": stream_id, "amount": amount, "at": at}
    return [str(row[0]) for row in database.execute(statement, values)]


def test_an_action_touches_at_most_100_000_records(client, tenant, database):
    stream_id = import_stream(client, make_document([node("a", "writers/log")], []))["id"]
    ids = fill(database, tenant.account_id, stream_id, 100_001, clock.now())
    assert paths_of(refused(client.post(f"{RECORDS}/requeue", json={"ids": ids}), 400)) == ["ids"]
    too_wide = {"filter": {"streamId": stream_id}}
    for action in ("requeue", "delete"):
        assert paths_of(refused(client.post(f"{RECORDS}/{action}", json=too_wide), 400)) == ["filter"]
    assert act(client, "correct", ids=ids[1:], changes={"value": 2}) == 100_000
    assert act(client, "requeue", ids=ids[1:]) == 100_000
    assert [record["id"] for record in records(client, stream_id, status="open")] == ids[:1]
    assert act(client, "delete", ids=ids[1:]) == 100_000
    assert act(client, "delete", **too_wide) == 1


async def forget(installation, now, limit):
    engine = make_engine(installation.environment["METERHOUSE_DATABASE_URL"], 1)
    async with engine.begin() as connection:
        count = await delete_forgotten_records(connection, now, limit)
    await engine.dispose()
    return count


def test_records_that_nobody_touched_for_six_months_are_deleted_in_portions(client, tenant, installation, database):
    stream_id = import_stream(client, make_document([node("a", "writers/log")], []))["id"]
    asyncio.run(forget(installation, datetime(2100, 1, 1, tzinfo=UTC), 1_000_000))
    old = [fill(database, tenant.account_id, stream_id, 1, f"2100-08-{day}T00:00:00Z")[0] for day in (29, 30, 31)]
    assert asyncio.run(forget(installation, datetime(2101, 2, 28, tzinfo=UTC), 10)) == 0
    assert asyncio.run(forget(installation, datetime(2101, 3, 1, tzinfo=UTC), 2)) == 2
    assert [record["id"] for record in records(client, stream_id)] == old[2:]
    act(client, "delete", ids=old)
