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
