"""GET /meters/{meterIdOrSlug}."""

import pytest

from .make import add_meter, refused


def test_a_meter_is_found_by_slug_and_by_id(mount):
    created = add_meter(mount, groupBy={"model": "$.model"}, description="All", metadata={"a": "b"})
    assert mount.get("/meters/usage").json() == created
    assert mount.get(f"/meters/{created['id']}").json() == created


def test_both_mounts_show_the_same_meter(bucket):
    created = add_meter(bucket.seed)
    assert bucket.openmeter.get("/meters/usage").json() == created


def test_an_unknown_meter_is_not_found(mount):
    problem = refused(mount.get("/meters/nothing"), 404)
    assert problem["detail"] == "not found error: meter not found: nothing"


def test_an_unknown_id_is_not_found(mount):
    refused(mount.get("/meters/01JZZZZZZZZZZZZZZZZZZZZZZZ"), 404)


def test_a_meter_of_another_bucket_is_not_found(make_bucket):
    created = add_meter(make_bucket().seed)
    refused(make_bucket().seed.get("/meters/usage"), 404)
    refused(make_bucket().seed.get(f"/meters/{created['id']}"), 404)


BAD_PATHS = ["UPPER", "a-b", "_a", "a__b", "x" * 65, "%00", "a%0a", "a%20b", "%C3%A9", "%ff", "a;b", "'or'1'='1"]


@pytest.mark.parametrize("tail", ["", "/query", "/group-by/model/values"])
@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_name_that_no_meter_can_have_is_refused(shared_mount, path, tail):
    response = shared_mount.get(f"/meters/{path}{tail}")
    refused(response, 404 if response.status_code == 404 else 400)
