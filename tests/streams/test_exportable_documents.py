"""Documents that would import, but could not be kept or exported as exports are promised to be."""

import pytest

from tests.streams.test_runs import STREAMS, counting, make_document, node
from tests.tenants import paths_of, refused


def with_node(**members):
    return make_document([node("count", "readers/counter", max=1) | members], [])


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (counting(1) | {"description": 7}, "stream.description"),
        (counting(1) | {"annotation": "text"}, "stream.annotation"),
        (counting(1) | {"nodeGroups": {}}, "stream.nodeGroups"),
        (counting(1) | {"nodeGroups": ["all"]}, "stream.nodeGroups"),
        (with_node(params=""), "stream.nodes[0].params"),
        (with_node(id=""), "stream.nodes[0].id"),
        (with_node(id="x" * 201), "stream.nodes[0].id"),
    ],
)
def test_what_an_export_could_not_tell_is_refused_by_name(client, document, path):
    answer = client.post(f"{STREAMS}/import", json={"stream": document})
    assert paths_of(refused(answer, 400)) == [path]


def test_what_is_null_or_just_fits_is_kept(client):
    document = with_node(id="ä" * 200, type="transforms/meter", params=None)
    document |= {"description": None, "annotation": None, "nodeGroups": None}
    answer = client.post(f"{STREAMS}/import", json={"stream": document})
    assert answer.status_code == 201, answer.text
    exported = client.get(f"{STREAMS}/{answer.json()['id']}/export").json()
    assert exported == document | {"tag": None}


def with_edge(**members):
    document = counting(1)
    document["edges"] = [document["edges"][0] | members]
    return document


@pytest.mark.parametrize(
    "document",
    [
        counting(1) | {"edges": [7]},
        with_edge(**{"from": {}}),
        with_edge(to=["log"]),
        with_edge(to=None),
        with_edge(output={}),
        with_node(params=[1]),
        with_node(params="text"),
        with_node(schemaVersion="one"),
        with_node(schemaVersion={"major": 1}),
    ],
)
def test_a_graph_that_cannot_be_read_is_refused(client, document):
    assert paths_of(refused(client.post(f"{STREAMS}/import", json={"stream": document}), 400)) == ["stream"]


@pytest.mark.parametrize("name", ["x" * 201, "a\0b"])
def test_a_name_that_no_stream_can_have_is_refused(client, name):
    assert paths_of(refused(client.get(STREAMS, params={"name": name}), 400)) == ["name"]
