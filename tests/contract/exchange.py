"""One HTTP exchange held against the documents: the answer always, the request if the server took it for a good one."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from .documents import Document, Node, Operation, Paths
from .schemas import Schemas, mark, members

# What every HTTP server says.
_TRANSPORT = {"content-length", "content-type", "date", "server", "connection", "transfer-encoding", "keep-alive"}

PAGES = ("/", "/reference", "/openapi")
"""The documents themselves and their pages, which no document tells of."""


@dataclass(frozen=True)
class Exchange:
    """`request_body` None: it is not known (streamed); `body` None: the answer was not read."""

    method: str
    url: str
    request_headers: Mapping[str, str]
    request_body: bytes | None
    status: int
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def path(self) -> str:
        return unquote_plus(urlsplit(self.url).path.replace("+", "%2B"))

    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)


class ContractError(AssertionError):
    """An exchange is not what the documents say. It fails the test that made it."""


@dataclass
class Contract:
    documents: list[Document]
    schemas: dict[str, Schemas] = field(init=False)
    paths: Paths = field(init=False)
    statuses: set[tuple[str, int]] = field(default_factory=set)
    """(operation id, status) of every answer so far."""
    found: dict[str, set[str]] = field(init=False)
    """Document → pointers of headers and parameters, and of members of bodies, that exchanges have had."""
    judges_requests: bool = True
    """False in tests whose requests are not meant to be good, though the server takes some (mark `odd_requests`)."""
    exchanges: int = 0
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = Paths(self.documents)
        self.schemas = {document.name: Schemas(document) for document in self.documents}
        self.found = {document.name: set() for document in self.documents}
        self._missing: dict[str, set[str]] = {}

    def seen(self) -> dict[str, Any]:
        """What exchanges have had so far, in terms of JSON."""
        found = {name: sorted(pointers) for name, pointers in self.found.items()}
        return {
            "statuses": sorted(self.statuses),
            "found": found,
            "exchanges": self.exchanges,
            "errors": self.errors,
        }

    def add(self, seen: dict[str, Any]) -> None:
        """What another process has seen."""
        self.statuses |= {(operation_id, status) for operation_id, status in seen["statuses"]}
        for name, pointers in seen["found"].items():
            self.found[name] |= set(pointers)
        self.exchanges += seen["exchanges"]
        self.errors += seen["errors"]

    def check(self, exchange: Exchange) -> None:
        """Raises ContractError; what was raised is also kept, for where a test swallows it."""
        self.exchanges += 1
        faults = list(self.faults(exchange))
        if faults:
            text = f"{exchange.method} {exchange.url} answered {exchange.status}:\n" + "\n".join(faults[:10])
            self.errors.append(text)
            raise ContractError(text)

    def faults(self, exchange: Exchange) -> Iterator[str]:
        path = exchange.path
        if path == "/" or path.startswith(tuple(f"{page}/" for page in PAGES[1:])):
            return
        operations, path_values = self.paths.find(path)
        operation = operations.get(exchange.method)
        if operation is None:
            yield from _undocumented(exchange, operations)
            return
        response = operation.responses().get(exchange.status)
        if response is None:
            yield f"{operation}: the status {exchange.status} is not documented: {(exchange.body or b'')[:300]!r}"
            return
        self.statuses.add((operation.id, exchange.status))
        where = f"{operation} {exchange.status}"
        for fault in self._answer_faults(exchange, response):
            yield f"{where}, answer: {fault}"
        if exchange.status < 400 and self.judges_requests:
            for fault in self._request_faults(exchange, operation, path_values):
                yield f"{where}, request: {fault}"

    # --- the answer ---

    def _answer_faults(self, exchange: Exchange, response: Node) -> Iterator[str]:
        schemas, found = self.schemas[response.document.name], self.found[response.document.name]
        documented = {name.lower(): node for name, node in response.items("headers")}
        given = {name.lower(): value for name, value in exchange.headers.items()}
        for name, node in documented.items():
            if name in given:
                found.add(node.pointer)
                value = _cast(given[name], _schema(node))
                yield from (f"header {name}: {fault}" for fault in schemas.faults(_schema(node), value))
            elif node.value.get("required"):
                yield f"the header {name} is missing"
        for name in given.keys() - documented.keys() - _TRANSPORT:
            yield f"the header {name} is not documented"
        if exchange.body is None:
            return
        content = response.get("content")
        if content is None:
            if exchange.body:
                yield f"a body is not documented: {exchange.body[:200]!r}"
            return
        media_type = given.get("content-type", "")
        if media_type not in content.value:
            media_type = media_type.partition(";")[0].strip()
        media = content.get(media_type)
        if media is None:
            yield f"the media type {given.get('content-type')!r} is not documented"
            return
        if not media_type.endswith("json"):
            return
        try:
            value = _json(exchange.body)
        except ValueError as error:
            yield f"is not JSON: {error}"
            return
        schema = media.get("schema")
        assert schema is not None, f"{media} has no schema"
        yield from schemas.faults(schema, value)
        self._note_members(schema, value)

    def _note_members(self, schema: Node, value: Any) -> None:
        missing = self.missing_members(schema)
        if missing:
            here: set[str] = set()
            mark(self.schemas[schema.document.name], schema, value, here)
            self.found[schema.document.name] |= here
            missing -= here

    def missing_members(self, schema: Node) -> set[str]:
        """The members of a body's schema that no such body has had yet."""
        key = f"{schema.document.name}{schema.pointer}"
        if key not in self._missing:
            self._missing[key] = {member.pointer for member in members(schema)}
        return self._missing[key]

    # --- the request ---

    def _request_faults(self, exchange: Exchange, operation: Operation, path_values: dict[str, str]) -> Iterator[str]:
        schemas = self.schemas[operation.document.name]
        values = _parameters(exchange, operation, path_values)
        for (place, name), node in operation.parameters().items():
            if (place, name) in values:
                value = values.pop((place, name))
                self.found[node.document.name].add(node.pointer)
                yield from (f"{place} parameter {name}: {fault}" for fault in schemas.faults(_schema(node), value))
            elif node.value.get("required"):
                yield f"the {place} parameter {name} is missing"
        for place, name in values:
            yield f"the {place} parameter {name} is not documented"
        if exchange.request_body is None:
            return
        body = operation.node.get("requestBody")
        if not exchange.request_body.strip():
            if body is not None and body.value.get("required"):
                yield "the body is missing"
            return
        if body is None:
            yield f"a body is not documented: {exchange.request_body[:200]!r}"
            return
        yield from self._body_faults(exchange, operation, exchange.request_body)

    def _body_faults(self, exchange: Exchange, operation: Operation, body: bytes) -> Iterator[str]:
        content_type = next((v for name, v in exchange.request_headers.items() if name.lower() == "content-type"), "")
        documented = operation.body_schemas()
        media_type = content_type.partition(";")[0].strip().lower() or next(iter(documented))
        schema = documented.get(media_type)
        if schema is None:
            yield f"the media type {content_type!r} is not documented"
            return
        value = dict(parse_qsl(body.decode())) if media_type.endswith("urlencoded") else _json(body)
        yield from (f"body: {fault}" for fault in self.schemas[schema.document.name].faults(schema, value))
        self._note_members(schema, value)


def _json(text: bytes) -> Any:
    """A number that is beyond a double is still a number."""
    return json.loads(text, parse_float=lambda digits: min(max(float(digits), -sys.float_info.max), sys.float_info.max))


def _undocumented(exchange: Exchange, operations: dict[str, Operation]) -> Iterator[str]:
    """Where nothing is documented, nothing may be: 404, or 405 with the methods that are."""
    if not operations or "\x00" in exchange.path:
        if exchange.status != 404:
            yield f"the path {exchange.path} is not documented"
    elif exchange.status != 405:
        yield f"{exchange.method} is not documented at {next(iter(operations.values())).path}"
    else:
        allowed = next((value for name, value in exchange.headers.items() if name.lower() == "allow"), "")
        methods = {method.strip() for method in allowed.split(",")}
        if methods != set(operations):
            yield f"Allow says {sorted(methods)}, the documents say {sorted(operations)}"


def _schema(node: Node) -> Node:
    """Of a parameter or header, whether it is there directly or under a media type."""
    found = node.get("schema")
    if found is None:
        content = node.get("content")
        assert content is not None, f"{node} has neither schema nor content"
        found = content.get(next(iter(content.value)), "schema")
    assert found is not None, f"{node} has no schema"
    return found


def _parameters(exchange: Exchange, operation: Operation, path_values: dict[str, str]) -> dict[tuple[str, str], Any]:
    """The request's parameters, read as the documents describe them; query parameters that they do not know, too."""
    documented = operation.parameters()
    values: dict[tuple[str, str], Any] = {}
    for name, text in path_values.items():
        values["path", name] = text if ("path", name) not in documented else _read(documented["path", name], [text])
    texts: dict[str, list[str]] = {}
    for name, text in exchange.query():
        key, bracket, inner = name.partition("[")
        node = documented.get(("query", key))
        if bracket and node is not None and node.value.get("style") == "deepObject":
            values.setdefault(("query", key), {})[inner.removesuffix("]")] = text
        else:
            texts.setdefault(name, []).append(text)
    for name, given in texts.items():
        node = documented.get(("query", name))
        if node is None:
            values["query", name] = given
        elif not node.value.get("x-as-text"):
            values["query", name] = _read(node, given)
    headers = {name.lower(): value for name, value in exchange.request_headers.items()}
    for place, name in documented:
        if place == "header" and name.lower() in headers:
            values[place, name] = _read(documented[place, name], [headers[name.lower()]])
    return values


def _read(node: Node, texts: list[str]) -> Any:
    if "content" in node.value:
        try:
            return json.loads(texts[0])
        except ValueError:
            return texts[0]
    schema = _schema(node)
    if schema.value.get("type") == "array":
        items = schema.get("items")
        return [_cast(text, items) if items else text for text in texts]
    return _cast(texts[0], schema) if len(texts) == 1 else texts


def _cast(text: str, schema: Node) -> Any:
    kinds = schema.value.get("type", "string")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        try:
            if kind in ("integer", "number"):
                return json.loads(text) if not text.startswith(("+", "0x")) else text
            if kind == "boolean" and text in ("true", "false"):
                return text == "true"
        except ValueError:
            continue
    return text
