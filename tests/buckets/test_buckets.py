"""Buckets: GET and POST /v1/metering, GET and DELETE /v1/metering/{bucketId}."""

import re

from .make import add_meter, instant, refused


def test_a_bucket_has_an_id_an_account_and_two_times(bucket):
    made = bucket.root.post("/v1/metering", json={})
    assert made.status_code == 201
    assert re.fullmatch(r"mtr_[0-9A-Za-z]{24}", made.json()["id"])
    assert {"id", "accountName", "createdOn", "updatedOn"} <= made.json().keys()
    assert instant(made.json()["createdOn"]) <= instant(made.json()["updatedOn"])


def test_a_bucket_is_shown_by_its_id(bucket):
    shown = bucket.root.get(f"/v1/metering/{bucket.id}")
    assert shown.status_code == 200
    assert shown.json()["id"] == bucket.id


def test_buckets_are_listed_with_their_total(bucket):
    listed = bucket.root.get("/v1/metering").json()
    assert listed.keys() == {"data", "limit", "offset", "total"}
    offsets = range(0, listed["total"], 500)
    pages = [bucket.root.get("/v1/metering", params={"limit": 500, "offset": n}).json() for n in offsets]
    assert bucket.id in [one["id"] for page in pages for one in page["data"]]


def test_the_list_is_cut_by_limit_and_offset(make_bucket):
    root = make_bucket().root
    make_bucket()
    first, second = (root.get("/v1/metering", params={"limit": 1, "offset": n}).json() for n in (0, 1))
    assert (len(first["data"]), first["limit"], second["offset"]) == (1, 1, 1)
    assert first["data"] != second["data"]


def test_a_deleted_bucket_is_gone(bucket):
    add_meter(bucket.seed)
    deleted = bucket.root.delete(f"/v1/metering/{bucket.id}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused(bucket.root.get(f"/v1/metering/{bucket.id}"), 404)
    refused(bucket.seed.get("/meters"), 404)
    refused(bucket.openmeter.get("/meters"), 404)


def test_an_unknown_bucket_is_not_found(bucket):
    for bucket_id in ("mtr_" + "0" * 24, "nothing", "mtr_", "%00"):
        refused(bucket.root.get(f"/v1/metering/{bucket_id}"), 404)
        refused(bucket.root.get(f"/v3/metering/{bucket_id}/meters"), 404)
