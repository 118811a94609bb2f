"""Imports that replace, and imports of documents that no stream can be made of."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import json
import uuid

import pytest

from tests.streams.test_runs import (  # noqa: F401 - fixtures
    STREAMS,
    counting,
    edge,
    imported,
    make_document,
    node,
    run_to_the_end,
    start_worker,
    worker,
)
from tests.tenants import paths_of, refused

RULES = [{"ignoreCondition": True, "matchCategory": "DEFAULT"}]
ONE = [node("a", "writers/log")]


def broken(**members):
    return make_document([node("a", "readers/counter", max=1), node("b", "writers/log")], [edge("a", "b")]) | members


@pytest.mark.parametrize(
    "document",
    [
        broken(nodes=[1]),
        broken(nodes=[*ONE, *ONE], edges=[]),
        broken(nodes=[ONE[0] | {"params": [1]}], edges=[]),
        broken(edges=[1]),
        broken(edges=[{"from": ["a"], "to": "b"}]),
        broken(edges=[{"from": "a", "to": {}}]),
        broken(edges=[edge("a", "b") | {"output": ["x"]}]),
        broken(description="\ud800"),
        broken(description="\x00"),
    ],
)
def test_what_no_stream_can_be_made_of_is_a_bad_stream(client, document):
    body = json.dumps({"stream": document})
    assert paths_of(refused(client.post(f"{STREAMS}/import", content=body), 400)) == ["stream"]


def test_odd_members_that_mean_nothing_to_us_come_back(client, imported):
    document = broken(
        nodes=[{"id": "a", "type": "writers/log", "schemaVersion": 99, "name": 7, "params": None}], edges=[]
    )
    exported = client.get(f"{STREAMS}/{imported(document)['id']}/export").json()
    assert exported == document | {"tag": None}


def test_the_deepest_document_that_can_be_read_can_be_listed_too(client, imported):
    deep = json.loads("[" * 900 + "]" * 900)
    made = imported(broken(deep=deep))
    found = client.get(STREAMS, params={"name": made["name"], "collectorId": str(uuid.uuid4())})
    assert found.json() == {"streams": []}


def test_a_function_whose_records_wait_in_data_correction_cannot_be_deleted(client, imported, worker):
    check = node("small", "transforms/validate", schema={"properties": {"value": {"maximum": 1}}})
    document = counting(3, check, edges=[("count", "small"), ("small", "log")])
    made = imported(document)
    assert run_to_the_end(client, made["id"])["nodes"]["small"]["rejected"] == 1
    smaller = counting(3) | {"name": document["name"]}
    body = {"stream": smaller, "conflictStrategy": "overwrite", "allowNodeDeletions": True}
    answer = refused(client.post(f"{STREAMS}/import", json=body), 409)
    assert "Small" in answer["message"]
    assert "Data correction" in answer["message"]
    assert client.get(f"{STREAMS}/{made['id']}/export").json() == document | {"tag": None}
    client.post("/data-correction/v1/records/delete", json={"filter": {"streamId": made["id"]}}).raise_for_status()
    assert client.post(f"{STREAMS}/import", json=body).status_code == 201


def test_a_node_that_becomes_another_function_is_named_anew(client, imported):
    aggregator = node("x", "transforms/script_aggregate", groupByRules=[{"fields": ["a"]}], onTransform="1")
    meter = node("x", "transforms/meter", guidingRules=RULES)
    document = counting(1, aggregator, edges=[("count", "x")])
    first = imported(document)
    assert (list(first["meterKeys"]), list(first["aggregationStores"])) == ([], ["x"])
    changed = imported(
        counting(
            1,
            meter,
            edges=[("count", "x")],
        )
        | {"name": document["name"]},
        conflictStrategy="overwrite",
    )
    assert (list(changed["meterKeys"]), list(changed["aggregationStores"])) == (["x"], [])
    back = imported(document, conflictStrategy="overwrite")
    assert back["aggregationStores"] == first["aggregationStores"]


def test_a_copy_of_a_stream_with_the_longest_name_gets_a_name_that_can_be_imported(client, imported):
    document = counting(1) | {"name": uuid.uuid4().hex.ljust(200, "x")}
    imported(document)
    copy = imported(document, conflictStrategy="createNew")
    assert copy["name"] == document["name"][:196] + " (1)"
    exported = client.get(f"{STREAMS}/{copy['id']}/export").json()
    assert imported(exported, conflictStrategy="overwrite")["id"] == copy["id"]
