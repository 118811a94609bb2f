"""Answers against OpenAPI documents: those of a folder of the test's own."""

import httpx
import pytest

from meterhouse.conformance.report import Report, Rule
from meterhouse.conformance.specs import problems
from meterhouse.conformance.walk import Answer, Walk

pytestmark = pytest.mark.odd_requests("the check sends bad events beside good ones")

DOCUMENT = """
openapi: 3.1.0
info: {title: Things, version: "1"}
paths:
  /things/{id}:
    get:
      operationId: get_thing
      responses:
        "200":
          description: A thing.
          headers:
            RateLimit: {required: true, schema: {type: string}}
            Link: {schema: {type: string}}
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Thing"}
        "204": {description: Nothing.}
        "404": {$ref: "#/components/responses/NotFound"}
        5XX: {$ref: "#/components/responses/NotFound"}
components:
  responses:
    NotFound:
      description: It is not there.
      content:
        application/problem+json:
          schema: {type: object, required: [title]}
  schemas:
    Thing:
      type: object
      required: [id, size]
      additionalProperties: false
      properties:
        id: {type: string}
        size: {$ref: "#/components/schemas/a~b"}
    a~b: {type: number, minimum: 0}
"""
LIMIT = {"RateLimit": '"get_thing";r=1;t=1'}
PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "things.yaml").write_text(DOCUMENT)
    return tmp_path


def judge(response, folder, operation_id="get_thing", method="GET", url="http://test/below/things/a"):
    response.request = httpx.Request(method, url)
    return problems(operation_id, response, folder)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, json={"id": "a", "size": 0.5}, headers=LIMIT),
        httpx.Response(204),
        httpx.Response(404, content=b'{"title": "Not Found"}', headers=PROBLEM),
        httpx.Response(503, content=b'{"title": "Unavailable"}', headers=PROBLEM),
    ],
)
def test_an_answer_as_documented_has_no_problems(folder, response):
    assert judge(response, folder) == []


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (httpx.Response(201), "the status 201 is not documented"),
        (httpx.Response(200, json={"id": "a", "size": 1}), "the header RateLimit is missing"),
        (httpx.Response(200, text="a", headers=LIMIT), "the media type text/plain is not documented"),
        (httpx.Response(200, headers=LIMIT), "the media type (none) is not documented"),
        (
            httpx.Response(200, content=b"{", headers=LIMIT | {"Content-Type": "application/json"}),
            "the body is not JSON",
        ),
        (httpx.Response(200, json={"id": "a"}, headers=LIMIT), "$: 'size' is a required property"),
        (httpx.Response(200, json={"id": "a", "size": -1}, headers=LIMIT), "$.size: -1 is less than the minimum of 0"),
        (httpx.Response(204, json={}), "a body of application/json is not documented"),
        (httpx.Response(404, content=b"{}", headers=PROBLEM), "$: 'title' is a required property"),
    ],
)
def test_what_is_not_as_documented_is_told(folder, response, told):
    assert judge(response, folder) == [told]


def test_an_operation_that_no_document_has_is_not_judged(folder, tmp_path):
    assert judge(httpx.Response(500), folder, operation_id="get_other") == []
    assert judge(httpx.Response(500), folder, url="http://test/others/a") == []
    assert judge(httpx.Response(500), tmp_path / "empty") == []


def test_an_operation_on_several_paths_is_judged_by_the_path_that_was_called(folder):
    second = DOCUMENT.replace("/things/", "/v2/items/").replace("get_thing", "get_thing_second").replace("404", "410")
    (folder / "second.yaml").write_text(second)
    lost = httpx.Response(410, content=b'{"title": "Gone"}', headers=PROBLEM)
    assert judge(lost, folder) == ["the status 410 is not documented"]
    assert judge(lost, folder, url="http://test/v2/items/a") == []
    assert judge(lost, folder, url="http://test/v2/items/a", method="POST") == []


def test_a_check_fails_when_the_specification_is_not_kept(folder):
    """The check itself asks for less than the specification does."""
    http = httpx.Client(
        base_url="http://test", transport=httpx.MockTransport(lambda _: httpx.Response(200, json={"id": "a"}))
    )
    walk = Walk(http, Report(), "mark", specifications=folder)
    walk.check(Rule("get_thing", "has an id", "Things"), walk.call("GET", "/things/a"), Answer(200, {"id": "a"}))
    (result,) = walk.report.results
    assert result.outcome == "fail"
    assert "by the specification: $: 'size' is a required property" in result.seen
    assert "by the specification: the header RateLimit is missing" in result.seen
