"""Sessions from end to end: sent to a collector, filled by a script, looked up by the id that the import answered."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

from datetime import datetime, timedelta

import pytest

from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    collector_id,
    edge,
    imported,
    make_document,
    node,
    outputs,
    send,
    start_worker,
    until,
    worker,
)
from tests.tenants import refused

FILL = """
session.data.orders = (session.data.orders ?? []).concat(payload.amount);
session.setTimeout(Date.UTC(2100, 0, 1));
if (payload.push) await session.push();
if (payload.last) await session.flush();
"""


def correlating(collector, *rules):
    """A collector that leads to a Script aggregator, and a log."""
    fields = [{"fields": list(names)} for names in rules]
    return make_document(
        [
            node("collect", "readers/online_collection", collectorId=collector),
            node("correlate", "transforms/script_aggregate", groupByRules=fields, onTransform=FILL),
            node("log", "writers/log"),
        ],
        [edge("collect", "correlate"), edge("correlate", "log")],
    )


@pytest.fixture
def deploy(client, imported, worker):
    deployed = []

    def run(document):
        made = imported(document)
        answer = client.post(f"{STREAMS}/{made['id']}/deploy")
        assert answer.status_code == 200, answer.text
        deployed.append(made["id"])
        return made, answer.json()["runId"]

    yield run
    for stream_id in deployed:
        client.post(f"{STREAMS}/{stream_id}/undeploy")


def lookup(client, store_id, *values):
    return client.get(f"/aggregation/v1/stores/{store_id}/sessions/lookup", params={"fieldValues": list(values)})


def instant(text):
    return datetime.fromisoformat(text)


def test_a_session_that_is_still_filled_is_found_and_after_its_flush_it_is_not(
    client,
    stranger,
    deploy,
    collector_id,
):
    made, run_id = deploy(correlating(collector_id, ("customer", "order")))
    (store_id,) = made["aggregationStores"].values()
    event = {"customer": "customer123", "order": 456}
    send(client, collector_id, event | {"amount": 0.1})
    first = until(lambda: (found := lookup(client, store_id, "customer123", "456")).status_code == 200 and found).json()
    assert list(first) == ["createdAt", "data", "meta", "timeoutAt", "updatedAt"]
    assert (first["data"], first["timeoutAt"]) == ({"orders": [0.1]}, "2100-01-01T00:00:00.000Z")
    assert first["meta"] == {"count": 1, "firstEvent": first["createdAt"], "lastEvent": first["createdAt"]}
    refused(lookup(client, store_id, "456", "customer123"), 404)
    refused(lookup(stranger, store_id, "customer123", "456"), 404)

    send(client, collector_id, event | {"amount": 2})
    send(client, collector_id, event | {"order": "other", "amount": 3})
    until(lambda: lookup(client, store_id, "customer123", "other").status_code == 200)
    second = lookup(client, store_id, "customer123", "456").json()
    assert second["data"] == {"orders": [0.1, 2]}
    assert second["meta"] == {"count": 2, "firstEvent": first["createdAt"], "lastEvent": second["updatedAt"]}
    assert second["createdAt"] == first["createdAt"] < second["updatedAt"]
    assert instant(second["updatedAt"]) - instant(first["createdAt"]) < timedelta(minutes=1)

    send(client, collector_id, event | {"amount": 4, "last": True})
    until(lambda: lookup(client, store_id, "customer123", "456").status_code == 404)
    run = client.get(f"{STREAMS}/{made['id']}/runs/{run_id}").json()
    assert outputs(client, run) == [("log", {"orders": [0.1, 2, 4]})]
    assert lookup(client, store_id, "customer123", "other").json()["meta"]["count"] == 1


def test_a_session_that_has_sent_goes_on_and_tells_how_it_sent(client, deploy, collector_id):
    made, run_id = deploy(correlating(collector_id, ("customer",)))
    (store_id,) = made["aggregationStores"].values()
    send(client, collector_id, {"customer": "eve", "amount": 1, "push": True})
    until(lambda: lookup(client, store_id, "eve").status_code == 200)
    session = lookup(client, store_id, "eve").json()
    assert (session["data"], session["meta"]["flushType"]) == ({"orders": [1]}, "PUSH")
    run = client.get(f"{STREAMS}/{made['id']}/runs/{run_id}").json()
    assert outputs(client, run) == [("log", {"orders": [1]})]


def test_a_replacing_import_keeps_the_store_and_its_sessions(client, deploy, imported, collector_id):
    document = correlating(collector_id, ("customer",))
    made, _ = deploy(document)
    (store_id,) = made["aggregationStores"].values()
    send(client, collector_id, {"customer": "ann", "amount": 1})
    until(lambda: lookup(client, store_id, "ann").status_code == 200)
    assert imported(document, conflictStrategy="overwrite")["aggregationStores"] == made["aggregationStores"]
    assert imported(document, conflictStrategy="createNew")["aggregationStores"] != made["aggregationStores"]
    client.post(f"{STREAMS}/{made['id']}/deploy").raise_for_status()
    send(client, collector_id, {"customer": "ann", "amount": 2})
    until(lambda: lookup(client, store_id, "ann").json()["data"] == {"orders": [1, 2]})
