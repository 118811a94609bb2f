"""Every error is a problem of RFC 9457, in OpenMeter's words."""

import httpx
import pytest

from .make import JSON, add_meter, instant, make_meter

FAULTS = [
    ("POST", "/meters", {"json": {}}, 400, "Bad Request"),
    ("POST", "/meters", {"content": b"{", "headers": JSON}, 400, "Bad Request"),
    ("POST", "/meters", {"json": make_meter()}, 409, "Conflict"),
    ("GET", "/meters", {"params": {"page": "x"}}, 400, "Bad Request"),
    ("GET", "/meters/nothing", {}, 404, "Not Found"),
    ("PUT", "/meters/nothing", {"json": {}}, 404, "Not Found"),
    ("DELETE", "/meters/nothing", {}, 404, "Not Found"),
    ("GET", "/meters/usage/query", {"params": {"groupBy": "foo"}}, 400, "Bad Request"),
    ("POST", "/meters/usage/query", {"json": {"groupBy": 5}}, 400, "Bad Request"),
    ("GET", "/meters/usage/group-by/foo/values", {}, 400, "Bad Request"),
    ("POST", "/events", {"json": []}, 400, "Bad Request"),
    ("POST", "/events", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 400, "Bad Request"),
    ("GET", "/nothing", {}, 404, "Not Found"),
    ("GET", "/meters/usage/nothing", {}, 404, "Not Found"),
    ("PATCH", "/meters", {"json": {}}, 405, "Method Not Allowed"),
    ("DELETE", "/events", {}, 405, "Method Not Allowed"),
    ("POST", "/meters/usage/group-by/model/values", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("method", "path", "rest", "status", "title"), FAULTS)
def test_an_error_has_the_form_of_a_problem(shared_mount, method, path, rest, status, title):
    shared_mount.post("/meters", json=make_meter())
    response = shared_mount.request(method, path, **rest)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["title"], problem["type"]) == (status, title, "about:blank")
    assert isinstance(problem["detail"], str)
    assert problem["instance"].startswith("urn:request:")


@pytest.mark.parametrize(("method", "path", "rest", "status", "title"), FAULTS)
def test_the_seed_mount_adds_a_trace(shared, method, path, rest, status, title):
    shared.seed.post("/meters", json=make_meter())
    trace = shared.seed.request(method, path, **rest).json()["trace"]
    assert instant(trace["timestamp"])
    assert trace["requestId"]


def test_the_openmeter_mount_has_no_trace(shared):
    assert "trace" not in shared.openmeter.get("/meters/nothing").json()


def test_instance_and_trace_name_the_same_request(shared):
    problem = shared.seed.get("/meters/nothing").json()
    assert problem["instance"] == f"urn:request:{problem['trace']['requestId']}"


def test_every_request_has_its_own_instance(shared_mount):
    instances = {shared_mount.get("/meters/nothing").json()["instance"] for _ in range(5)}
    assert len(instances) == 5


def test_the_detail_tells_the_kind_of_error(mount):
    add_meter(mount)
    detail = {
        400: mount.post("/meters", json={}).json()["detail"],
        404: mount.get("/meters/nothing").json()["detail"],
        409: mount.post("/meters", json=make_meter()).json()["detail"],
    }
    assert detail[400].startswith("validation error: ")
    assert detail[404] == "not found error: meter not found: nothing"
    assert detail[409] == "conflict error: meter with the same slug already exists"


def test_each_field_error_has_field_code_and_message(mount):
    problem = mount.post("/meters", json=make_meter(slug="A", aggregation="SOME")).json()
    errors = problem["extensions"]["validationErrors"]
    assert {error["field"] for error in errors} == {"slug", "aggregation"}
    assert all(error["code"] and error["message"] for error in errors)


def test_a_wrong_method_is_told_the_right_ones(shared_mount):
    assert set(shared_mount.patch("/meters").headers["allow"].replace(" ", "").split(",")) >= {"GET", "POST"}


@pytest.mark.parametrize("path", ["/v1/metering", "/v3/metering/{bucket}/meters", "/api/v1/meters", "/api/v2/events"])
@pytest.mark.parametrize(
    "key", [None, "", "Bearer", "Bearer x", "Bearer zpka_nothing", "Basic eDp4", "Bearer a.b.c", "Bearer \xff"]
)
def test_without_a_good_key_the_answer_is_401(shared, path, key):
    headers = {} if key is None else {"Authorization": key.encode("latin-1")}
    response = httpx.get(shared.root.base_url.join(path.format(bucket=shared.id)), headers=headers)
    assert response.status_code == 401, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 401
