"""The check of exchanges itself: what is not as documented is found and named."""

import json
from dataclasses import replace

import httpx
import pytest

from .documents import Document
from .exchange import Contract, ContractError, Exchange
from .session import unseen
from .wiring import wired

ITEM = {
    "type": "object",
    "required": ["id"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "size": {"type": "integer"},
        "next": {"$ref": "#/components/schemas/Item"},
    },
}
OPERATION = {
    "operationId": "put_item",
    "parameters": [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 2}},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 5}},
        {"name": "by", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
        {"name": "X-Sum", "in": "header", "schema": {"type": "integer"}},
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}},
    },
    "responses": {
        "200": {
            "description": "",
            "headers": {"X-Request-Id": {"required": True, "schema": {"type": "string"}}},
            "content": {
                "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}}
            },
        },
        "204": {"description": ""},
    },
}
DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {"/items/{id}": {"put": OPERATION}, "/items/all": {"get": {"operationId": "all", "responses": {}}}},
    "components": {"schemas": {"Item": ITEM}},
}
GOOD = Exchange(
    method="PUT",
    url="http://127.0.0.1:1/items/ab?limit=5&by[x]=1",
    request_headers={"Content-Type": "application/json; charset=utf-8", "X-Sum": "7"},
    request_body=b'{"id": "a"}',
    status=200,
    headers={"x-request-id": "1", "content-type": "application/json", "date": "today"},
    body=b'[{"id": "a", "next": {"id": "b"}}]',
)


@pytest.fixture
def small() -> Contract:
    return Contract([Document("small", json.loads(json.dumps(DOCUMENT)))])


def test_a_good_exchange_passes_and_is_noted(small):
    small.check(GOOD)
    assert small.statuses == {("put_item", 200)}
    assert "/components/schemas/Item/properties/next" in small.found["small"]
    assert "/components/schemas/Item/properties/size" not in small.found["small"]
    assert small.errors == []


FAULTS = [
    ({"status": 500}, "the status 500 is not documented"),
    ({"method": "GET"}, "GET is not documented at /items/{id}"),
    ({"method": "GET", "status": 405, "headers": {"Allow": "PUT, POST"}}, "Allow says"),
    ({"url": "http://127.0.0.1:1/other"}, "the path /other is not documented"),
    ({"headers": {"content-type": "application/json"}}, "the header x-request-id is missing"),
    ({"headers": GOOD.headers | {"x-more": "1"}}, "the header x-more is not documented"),
    ({"headers": GOOD.headers | {"content-type": "text/plain"}}, "the media type 'text/plain' is not documented"),
    ({"body": b"{"}, "is not JSON"),
    ({"body": b'[{"id": "a", "more": 1}]'}, "answer: $[0]"),
    ({"body": b'[{"id": "a", "next": {"id": 5}}]'}, "$[0].next.id"),
    ({"body": b'[{"size": 1}]'}, "answer: $[0]"),
    ({"status": 204, "headers": {}, "body": b"x"}, "a body is not documented"),
    ({"url": "http://127.0.0.1:1/items/a"}, "path parameter id: $"),
    ({"url": "http://127.0.0.1:1/items/ab?limit=6"}, "query parameter limit: $"),
    ({"url": "http://127.0.0.1:1/items/ab?limit=x"}, "query parameter limit: $"),
    ({"url": "http://127.0.0.1:1/items/ab?more=1"}, "the query parameter more is not documented"),
    ({"request_headers": GOOD.request_headers | {"x-sum": "many"}}, "header parameter X-Sum: $"),
    ({"request_headers": {"Content-Type": "text/csv"}}, "the media type 'text/csv' is not documented"),
    ({"request_body": b'{"id": 5}'}, "body: $.id"),
    ({"request_body": b""}, "the body is missing"),
]


@pytest.mark.parametrize(("change", "said"), FAULTS)
def test_what_is_not_as_documented_is_named(small, change, said):
    with pytest.raises(ContractError) as caught:
        small.check(replace(GOOD, **change))
    assert said in str(caught.value)
    assert small.errors == [str(caught.value)]


def test_a_path_that_nobody_knows_is_not_found(small):
    small.check(replace(GOOD, url="http://127.0.0.1:1/other", status=404))
    small.check(replace(GOOD, method="GET", status=405, headers={"allow": "PUT"}))


def test_a_literal_path_goes_before_a_templated_one(small):
    with pytest.raises(ContractError, match="not documented at /items/all"):
        small.check(replace(GOOD, url="http://127.0.0.1:1/items/all"))


def test_odd_requests_are_not_judged_but_their_answers_are(small):
    small.judges_requests = False
    small.check(replace(GOOD, request_body=b'{"id": 5}', url="http://127.0.0.1:1/items/ab?more=1"))
    with pytest.raises(ContractError):
        small.check(replace(GOOD, status=500))


def test_what_nobody_saw_is_told(small):
    small.check(GOOD)
    told = "\n".join(unseen(small))
    assert "put_item (PUT /items/{id}): no test was answered 204" in told
    assert "small.yaml#/components/schemas/Item/properties/size: no answer had it" in told
    assert "properties/next" not in told
    assert "no test was answered 200" not in told


def test_a_reason_excuses_what_is_rare():
    document = json.loads(json.dumps(DOCUMENT))
    put = document["paths"]["/items/{id}"]["put"]
    put["responses"]["204"]["x-rare"] = "needs a blue moon"
    document["components"]["schemas"]["Item"]["properties"]["size"]["x-rare"] = "needs one, too"
    contract = Contract([Document("small", document)])
    contract.check(GOOD)
    assert list(unseen(contract)) == []


def test_an_exchange_with_another_server_is_nobodys_business(small, api):
    """And one with ours is checked without a word from the test, whoever sends it."""
    with wired(small):
        with pytest.raises(ContractError, match="/livez is not documented"):
            httpx.get(f"{api.base_url}/livez")
        with pytest.raises(httpx.ConnectError):
            httpx.get("http://127.0.0.1:1/livez")
