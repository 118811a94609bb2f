"""Validation against schemas of the documents, and which members of answers have been seen."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jsonschema_rs

from .documents import Document, Node

_IN_PLACE = ("allOf", "anyOf", "oneOf")


class Schemas:
    """Compiled validators of one document, by pointer."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._compiled: dict[str, jsonschema_rs.Draft202012Validator] = {}

    @cached_property
    def _registry(self) -> jsonschema_rs.Registry:
        return jsonschema_rs.Registry([(self._uri, self._document.value)], draft=jsonschema_rs.Draft202012)

    @property
    def _uri(self) -> str:
        return f"urn:{self._document.name}"

    def _validator(self, schema: Node) -> jsonschema_rs.Draft202012Validator:
        found = self._compiled.get(schema.pointer)
        if found is None:
            reference = {"$ref": f"{self._uri}#{_quoted(schema.pointer)}"}
            found = jsonschema_rs.Draft202012Validator(reference, registry=self._registry, validate_formats=True)
            self._compiled[schema.pointer] = found
        return found

    def faults(self, schema: Node, value: Any) -> list[str]:
        """What is wrong, each with the JSON path at which it is."""
        validator = self._validator(schema)
        if validator.is_valid(value):
            return []
        return [f"{json_path(error.instance_path)}: {error.message[:500]}" for error in validator.iter_errors(value)]

    def fits(self, schema: Node, value: Any) -> bool:
        return self._validator(schema).is_valid(value)


def _quoted(pointer: str) -> str:
    return pointer.replace("%", "%25").replace("{", "%7B").replace("}", "%7D").replace("$", "%24")


def json_path(parts: list[str | int]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def branches(schema: Node) -> Iterator[Node]:
    """The schema and those that say more about the same value."""
    yield schema
    for keyword in _IN_PLACE:
        for _, part in schema.items(keyword):
            yield from branches(part)


def members(schema: Node, seen: set[str] | None = None) -> Iterator[Node]:
    """Every member's schema that a value of this schema can have, at any depth. `x-rare` excuses one, with a reason."""
    seen = set() if seen is None else seen
    if schema.pointer in seen or not isinstance(schema.value, dict):
        return
    seen.add(schema.pointer)
    for name, member in schema.items("properties"):
        stands_at = schema.value["properties"][name]
        if not ("x-rare" in member.value or "x-rare" in stands_at):
            yield Node(schema.document, f"{schema.pointer}/properties/{name}", stands_at)
        yield from members(member, seen)
    for keyword in ("items", "additionalProperties"):
        inner = schema.get(keyword)
        if inner is not None:
            yield from members(inner, seen)
    for keyword in (*_IN_PLACE, "patternProperties"):
        for _, inner in schema.items(keyword):
            yield from members(inner, seen)


def mark(schemas: Schemas, schema: Node, value: Any, found: set[str]) -> None:
    """Adds the pointers of the members that the value has. Of alternatives, those count that it fits."""
    if not isinstance(schema.value, dict):
        return
    if isinstance(value, dict):
        for name, member in schema.items("properties"):
            if name in value:
                found.add(f"{schema.pointer}/properties/{name}")
                mark(schemas, member, value[name], found)
        rest = schema.get("additionalProperties")
        if rest is not None:
            named = schema.value.get("properties", {})
            for name, inner in value.items():
                if name not in named:
                    mark(schemas, rest, inner, found)
    elif isinstance(value, list):
        items = schema.get("items")
        if items is not None:
            for inner in value:
                mark(schemas, items, inner, found)
    for _, part in schema.items("allOf"):
        mark(schemas, part, value, found)
    for keyword in ("anyOf", "oneOf"):
        for _, part in schema.items(keyword):
            if schemas.fits(part, value):
                mark(schemas, part, value, found)
