"""A stream's document and the list of its versions."""

import json
import re
import uuid

import pytest

from meterhouse.errors import ConflictError
from tests.tenants import paths_of, refused

STREAMS = "/stream-management/v1/streams"

DOCUMENT = """{
  "name": "Usage",
  "unknown": {"z": 1, "a": [3, 2, 1]},
  "annotation": {"text": "Ä \\u00e4 \\"", "color": "blue"},
  "nodes": [{"id": "b", "type": "transforms/unheard_of", "x": 350, "y": 1.50, "params": {"max": 1e3, "b": 0.10, "a": 12345678901234567890}},
            {"id": "a", "type": "readers/counter", "x": -0.0, "partitionKey": null}],
  "edges": [{"id": "e", "from": "a", "to": "b", "config": {}, "output": "o"}],
  "nodeGroups": [{"id": "g", "name": "G", "nodeIds": ["b", "a"], "annotation": {"text": "", "color": "gray"}}]
}"""


def of(number):
    """A document that is told from others by its one function."""
    return json.dumps({"name": "Usage", "nodes": [{"id": str(number), "type": "writers/log"}], "edges": []})


INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def name():
    return f"Stream {uuid.uuid4()}"


def as_sent(text):
    """The document with every number as it is spelled and every object as its pairs in order."""
    return json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=list)


def export(client, stream_id, **params):
    answer = client.get(f"{STREAMS}/{stream_id}/export", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer


def versions_of(client, stream_id, **params):
    answer = client.get(f"{STREAMS}/{stream_id}/versions", params=params)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["versions"]
    return answer.json()["versions"]


def test_an_export_is_the_document_to_the_letter(client, make_stream, name):
    stream_id = make_stream(name, (DOCUMENT, "v1.0", "Initial draft version"))
    exported = dict(as_sent(export(client, stream_id).text))
    members = dict(as_sent(DOCUMENT))
    assert exported == members | {"name": name, "tag": "v1.0", "description": "Initial draft version"}
    assert list(exported) == [*members, "tag", "description"]


def test_the_autosaved_version_has_no_tag_and_no_description(client, make_stream, name):
    exported = export(client, make_stream(name, (DOCUMENT, None, None))).json()
    assert exported["tag"] is None
    assert "description" not in exported


def test_an_export_is_of_the_latest_version_unless_a_tag_names_another(client, make_stream, name):
    stream_id = make_stream(name, (of(1), "v1", None), (of(2), "v2", "two"), (of(3), None, None))
    assert export(client, stream_id).json() == json.loads(of(3)) | {"name": name, "tag": None}
    told = {"name": name, "tag": "v2", "description": "two"}
    assert export(client, stream_id, tag="v2").json() == json.loads(of(2)) | told
    assert export(client, stream_id, tag="v1").json()["nodes"] == json.loads(of(1))["nodes"]


def test_an_unknown_tag_stream_and_a_stream_without_versions_are_not_found(client, make_stream, name):
    stream_id = make_stream(name, (of(1), "v1", None))
    refused(client.get(f"{STREAMS}/{stream_id}/export", params={"tag": "v2"}), 404)
    refused(client.get(f"{STREAMS}/{uuid.uuid4()}/export"), 404)
    refused(client.get(f"{STREAMS}/{uuid.uuid4()}/versions"), 404)
    empty = make_stream(f"{name} empty")
    refused(client.get(f"{STREAMS}/{empty}/export"), 404)
    assert versions_of(client, empty) == []


def test_versions_are_listed_newest_first(client, make_stream, name):
    stream_id = make_stream(name, (of(1), "v1", "first"), (of(1), "v2", None), (of(1), None, None))
    listed = versions_of(client, stream_id)
    for version in listed:
        assert uuid.UUID(version.pop("id"))
        assert INSTANT.fullmatch(version.pop("createdAt"))
        assert INSTANT.fullmatch(version.pop("updatedAt"))
    rest = {"createdBy": "tests", "deployed": False, "scheduled": False}
    assert listed == [
        {"tag": None, "description": None, "autosaved": True} | rest,
        {"tag": "v2", "description": None, "autosaved": False} | rest,
        {"tag": "v1", "description": "first", "autosaved": False} | rest,
    ]


def test_versions_are_paged(client, make_stream, name):
    stream_id = make_stream(name, *((of(1), f"v{number}", None) for number in range(30)))
    tags = [f"v{number}" for number in reversed(range(30))]
    assert [version["tag"] for version in versions_of(client, stream_id)] == tags[:25]
    assert [version["tag"] for version in versions_of(client, stream_id, limit=100)] == tags
    assert [version["tag"] for version in versions_of(client, stream_id, limit=3, skip=2)] == tags[2:5]
    assert versions_of(client, stream_id, skip=30) == []


@pytest.mark.parametrize(("member", "value"), [("limit", "0"), ("limit", "101"), ("limit", "x"), ("skip", "-1")])
def test_a_bad_page_is_refused_by_name(client, make_stream, name, member, value):
    answer = client.get(f"{STREAMS}/{make_stream(name)}/versions", params={member: value})
    assert paths_of(refused(answer, 400)) == [member]


@pytest.mark.parametrize("path", ["export", "versions"])
def test_a_malformed_id_is_named(client, path):
    assert paths_of(refused(client.get(f"{STREAMS}/nothing/{path}"), 400)) == ["id"]


@pytest.mark.parametrize("tag", ["", "\x00"])
def test_a_tag_that_no_version_can_have_is_refused(client, make_stream, name, tag):
    answer = client.get(f"{STREAMS}/{make_stream(name)}/export", params={"tag": tag})
    assert paths_of(refused(answer, 400)) == ["tag"]


@pytest.mark.parametrize("path", ["export", "versions"])
def test_another_accounts_stream_does_not_exist(client, stranger, make_stream, name, path):
    stream_id = make_stream(name, (of(1), "v1", None))
    assert client.get(f"{STREAMS}/{stream_id}/{path}").status_code == 200
    refused(stranger.get(f"{STREAMS}/{stream_id}/{path}"), 404)


def test_a_name_a_tag_and_the_autosaved_version_are_there_once(make_stream, name):
    make_stream(name)
    with pytest.raises(ConflictError, match="name"):
        make_stream(name)
    with pytest.raises(ConflictError, match="tag"):
        make_stream(f"{name} 2", (of(1), "v1", None), (of(1), "v1", None))
    with pytest.raises(ConflictError, match="autosaved"):
        make_stream(f"{name} 3", (of(1), None, None), (of(1), None, None))
