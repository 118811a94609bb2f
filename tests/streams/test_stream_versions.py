"""Versions of a stream: autosaved by each import, tagged, deployed, deleted."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import uuid

import pytest

from tests.streams.test_runs import STREAMS, collector_id, counting, imported, metering  # noqa: F401 - fixtures
from tests.tenants import make_tenant, paths_of, refused


@pytest.fixture
def save(client, imported):
    """Each call is an edit: an import that replaces what has the same name."""
    name = f"Versions {uuid.uuid4()}"

    def run(number=1, **members):
        return imported(counting(number) | {"name": name}, conflictStrategy="overwrite", **members)["id"]

    return run


def tag(client, stream_id, **body):
    return client.post(f"{STREAMS}/{stream_id}/versions/tag", json=body)


def tagged(client, stream_id, **body):
    answer = tag(client, stream_id, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def versions(client, stream_id):
    return client.get(f"{STREAMS}/{stream_id}/versions").json()["versions"]


def maximum(client, stream_id, **params):
    """The one number of the exported document that the edits change."""
    return client.get(f"{STREAMS}/{stream_id}/export", params=params).json()["nodes"][0]["params"]["max"]


def delete(client, stream_id, version_id):
    return client.delete(f"{STREAMS}/{stream_id}/versions/{version_id}")


def test_the_autosaved_version_becomes_the_tagged_one(client, save):
    stream_id = save(1)
    (autosaved,) = versions(client, stream_id)
    version = tagged(client, stream_id, tag="v1.0", description="Initial draft version")
    assert version == autosaved | {
        "tag": "v1.0",
        "description": "Initial draft version",
        "autosaved": False,
        "updatedAt": version["updatedAt"],
    }
    assert versions(client, stream_id) == [version]
    exported = client.get(f"{STREAMS}/{stream_id}/export", params={"tag": "v1.0"}).json()
    assert (exported["tag"], exported["description"]) == ("v1.0", "Initial draft version")


def test_after_a_tag_the_next_edit_is_autosaved_beside_it(client, save):
    stream_id = save(1)
    tagged(client, stream_id, tag="v1")
    save(2)
    assert [(one["tag"], one["autosaved"]) for one in versions(client, stream_id)] == [(None, True), ("v1", False)]
    assert (maximum(client, stream_id), maximum(client, stream_id, tag="v1")) == (2, 1)


def test_a_description_that_is_not_given_stays(client, save):
    stream_id = save(1, description="from the import")
    assert tagged(client, stream_id, tag="v1")["description"] == "from the import"


def test_what_cannot_be_tagged_is_a_conflict_and_changes_nothing(client, save):
    stream_id = save(1)
    tagged(client, stream_id, tag="v1")
    assert "autosaved" in refused(tag(client, stream_id, tag="v2"), 409)["message"]
    save(2)
    assert "tag" in refused(tag(client, stream_id, tag="v1"), 409)["message"]
    assert [one["tag"] for one in versions(client, stream_id)] == [None, "v1"]


def test_a_stream_has_at_most_100_tagged_versions(client, make_stream):
    names = [("{}", f"v{number}", None) for number in range(99)]
    stream_id = make_stream(f"Many {uuid.uuid4()}", *names, ('{"name": "x", "nodes": []}', None, None))
    tagged(client, stream_id, tag="v99")
    full = make_stream(f"Full {uuid.uuid4()}", *names, ("{}", "v99", None), ("{}", None, None))
    assert "100" in refused(tag(client, full, tag="v100"), 409)["message"]
    victim = versions(client, full)[1]["id"]
    assert delete(client, full, victim).json() == {"deletedCount": 1}
    tagged(client, full, tag="v100")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "tag"),
        ({"tag": ""}, "tag"),
        ({"tag": None}, "tag"),
        ({"tag": 1}, "tag"),
        ({"tag": "x" * 201}, "tag"),
        ({"tag": "\x00"}, "tag"),
        ({"tag": "v1", "description": ""}, "description"),
        ({"tag": "v1", "description": None}, "description"),
        ({"tag": "v1", "name": "x"}, "name"),
    ],
)
def test_a_bad_tag_is_refused_by_name(client, save, body, path):
    stream_id = save(1)
    assert paths_of(refused(tag(client, stream_id, **body), 400)) == [path]
    assert versions(client, stream_id)[0]["autosaved"]


def test_a_version_is_deleted_unless_it_is_deployed_or_the_last(client, save):
    stream_id = save(1, tag="v1")
    save(2, tag="v2")
    save(3)
    autosaved, second, first = versions(client, stream_id)
    client.post(f"{STREAMS}/{stream_id}/deploy", params={"tag": "v2"}).raise_for_status()
    assert "deployed" in refused(delete(client, stream_id, second["id"]), 409)["message"]
    assert delete(client, stream_id, first["id"]).json() == {"deletedCount": 1}
    refused(delete(client, stream_id, first["id"]), 404)
    refused(client.get(f"{STREAMS}/{stream_id}/export", params={"tag": "v1"}), 404)
    assert delete(client, stream_id, autosaved["id"]).json() == {"deletedCount": 1}
    assert maximum(client, stream_id) == 2
    client.post(f"{STREAMS}/{stream_id}/undeploy").raise_for_status()
    assert "only one" in refused(delete(client, stream_id, second["id"]), 409)["message"]
    assert [one["tag"] for one in versions(client, stream_id)] == ["v2"]


def test_a_deployed_version_without_a_tag_stays_until_another_is_deployed(client, save):
    stream_id = save(1)
    client.post(f"{STREAMS}/{stream_id}/deploy").raise_for_status()
    save(2)
    save(3)
    shown = [(one["tag"], one["autosaved"], one["deployed"]) for one in versions(client, stream_id)]
    assert shown == [(None, True, False), (None, False, True)]
    assert maximum(client, stream_id) == 3
    client.post(f"{STREAMS}/{stream_id}/deploy").raise_for_status()
    assert [(one["autosaved"], one["deployed"]) for one in versions(client, stream_id)] == [(True, True)]
    tagged(client, stream_id, tag="v3")
    assert [(one["tag"], one["deployed"]) for one in versions(client, stream_id)] == [("v3", True)]


def test_a_tagged_version_can_be_deployed_and_started(client, save):
    stream_id = save(1, tag="v1")
    save(2)
    client.post(f"{STREAMS}/{stream_id}/deploy", params={"tag": "v1"}).raise_for_status()
    assert [(one["tag"], one["deployed"]) for one in versions(client, stream_id)] == [(None, False), ("v1", True)]
    refused(client.post(f"{STREAMS}/{stream_id}/deploy", params={"tag": "v9"}), 404)
    refused(client.post(f"{STREAMS}/{stream_id}/start", params={"tag": "v9"}), 404)
    assert paths_of(refused(client.post(f"{STREAMS}/{stream_id}/start", params={"tag": ""}), 400)) == ["tag"]
    assert [(one["tag"], one["deployed"]) for one in versions(client, stream_id)] == [(None, False), ("v1", True)]


def test_another_accounts_versions_do_not_exist(client, stranger, save):
    stream_id = save(1)
    (version,) = versions(client, stream_id)
    refused(tag(stranger, stream_id, tag="v1"), 404)
    refused(delete(stranger, stream_id, version["id"]), 404)
    refused(tag(client, str(uuid.uuid4()), tag="v1"), 404)
    refused(delete(client, stream_id, str(uuid.uuid4())), 404)
    assert versions(client, stream_id) == [version]


def test_tags_and_deletions_need_their_scopes(installation, api):
    with make_tenant(installation, api.base_url, "read:streams").client() as reader:
        refused(tag(reader, str(uuid.uuid4()), tag="v1"), 401)
        refused(delete(reader, str(uuid.uuid4()), str(uuid.uuid4())), 401)
    with make_tenant(installation, api.base_url, "update:streams", "delete:streams").client() as writer:
        refused(tag(writer, str(uuid.uuid4()), tag="v1"), 404)
        refused(delete(writer, str(uuid.uuid4()), str(uuid.uuid4())), 404)
