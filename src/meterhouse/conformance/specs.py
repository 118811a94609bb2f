"""The OpenAPI documents, as one function: what is wrong with an answer."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_PACKAGED = Path(__file__).parents[1] / "openapi"
FOLDER = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[3] / "openapi"

_METHODS = ("get", "post", "put", "patch", "delete")


class Document:
    """One OpenAPI document; its nodes are named by JSON pointers, and references are followed."""

    def __init__(self, path: Path) -> None:
        self.root = yaml.safe_load(path.read_text())
        resource = DRAFT202012.create_resource(self.root)
        self.registry: Registry[Any] = Registry().with_resource("urn:document", resource)

    def at(self, *names: str) -> tuple[str, Any]:
        """Pointer and value, both None where there is nothing."""
        pointer, value = "", self.root
        for name in names:
            while isinstance(value, dict) and "$ref" in value:
                pointer = value["$ref"].removeprefix("#")
                value = self._look_up(pointer)
            if not isinstance(value, dict) or name not in value:
                return "", None
            pointer, value = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", value[name]
        while isinstance(value, dict) and "$ref" in value:
            pointer = value["$ref"].removeprefix("#")
            value = self._look_up(pointer)
        return pointer, value

    def _look_up(self, pointer: str) -> Any:
        value = self.root
        for name in pointer.split("/")[1:]:
            value = value[name.replace("~1", "/").replace("~0", "~")]
        return value

    def why_invalid(self, pointer: str, value: Any) -> list[str]:
        schema = {"$ref": f"urn:document#{pointer}"}
        found = Draft202012Validator(schema, registry=self.registry).iter_errors(value)
        return [f"{error.json_path}: {error.message}" for error in sorted(found, key=lambda error: error.json_path)]


@dataclass(frozen=True, slots=True)
class Operation:
    document: Document
    operation_id: str
    method: str
    path: str

    def is_of(self, operation_id: str, request: httpx.Request) -> bool:
        """An operation that is there on several paths has an id for each: its name and more behind it."""
        named = self.operation_id == operation_id or self.operation_id.startswith(f"{operation_id}_")
        template = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in _parts(self.path))
        return named and self.method == request.method.lower() and bool(re.search(f"{template}$", request.url.path))


def _parts(path: str) -> list[str]:
    return re.split(r"(\{[^}]+\})", path)


@cache
def read_operations(folder: Path) -> list[Operation]:
    return [
        Operation(document, item[method]["operationId"], method, path)
        for document in map(Document, sorted(folder.glob("*.yaml")))
        for path, item in document.root.get("paths", {}).items()
        for method in _METHODS
        if "operationId" in item.get(method, {})
    ]


def problems(operation_id: str, response: httpx.Response, folder: Path) -> list[str]:
    """Status, media type, headers and body against the operation's document. None for what no document has."""
    found = [one for one in read_operations(folder) if one.is_of(operation_id, response.request)]
    if not found:
        return []
    document, place = found[0].document, ("paths", found[0].path, found[0].method)
    status = str(response.status_code)
    for name in (status, f"{status[0]}XX", "default"):
        _, answer = document.at(*place, "responses", name)
        if answer is not None:
            return _missing_headers(answer, response) + _body_problems(document, (*place, "responses", name), response)
    return [f"the status {status} is not documented"]


def _missing_headers(answer: Any, response: httpx.Response) -> list[str]:
    required = [name for name, header in answer.get("headers", {}).items() if header.get("required")]
    return [f"the header {name} is missing" for name in required if name not in response.headers]


def _body_problems(document: Document, place: tuple[str, ...], response: httpx.Response) -> list[str]:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    _, content = document.at(*place, "content")
    if not content:
        return [f"a body of {media_type} is not documented"] if response.content else []
    if media_type not in content:
        return [f"the media type {media_type or '(none)'} is not documented"]
    pointer, schema = document.at(*place, "content", media_type, "schema")
    if schema is None or not media_type.endswith("json"):
        return []
    try:
        return document.why_invalid(pointer, json.loads(response.content))
    except ValueError:
        return ["the body is not JSON"]
