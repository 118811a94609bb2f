"""Requests made of the documents' own examples."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from .documents import Node, Operation


@dataclass(frozen=True)
class Sample:
    """A request as the documents write it: ids in it stand for what is to be put in their place (see world.py)."""

    operation: Operation
    name: str
    path: dict[str, str]
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    def __str__(self) -> str:
        return f"{self.operation.id}-{self.name}"

    def url(self) -> str:
        path = self.operation.path
        for name, value in self.path.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        return path + (f"?{urlencode(self.query)}" if self.query else "")


def plain_sample(operation: Operation) -> Sample:
    """The least request: what is required, with the first example of the body."""
    return next(iter(samples(operation)))


def samples(operation: Operation) -> Iterator[Sample]:
    """One request for each example of the body, and one for each example of each optional parameter."""
    base = Sample(operation, "plain", {})
    optional = []
    for (place, name), node in operation.parameters().items():
        if not node.value.get("required"):
            optional.append((place, name, node))
            continue
        for value in list(example_values(node))[:1]:
            base = _with_parameter(base, place, name, node, value)
    bodies = list(_bodies(operation))
    if not bodies:
        yield base
    for name, media_type, value in bodies:
        yield replace(
            base, name=name, headers=base.headers | {"Content-Type": media_type}, body=_spell(media_type, value)
        )
    if bodies:
        name, media_type, value = bodies[0]
        base = replace(base, headers=base.headers | {"Content-Type": media_type}, body=_spell(media_type, value))
    for place, name, node in optional:
        for value in example_values(node):
            yield replace(_with_parameter(base, place, name, node, value), name=f"{name}={value}")


def _bodies(operation: Operation) -> Iterator[tuple[str, str, Any]]:
    for media_type, media in operation.node.items("requestBody", "content"):
        for name, example in media.items("examples"):
            yield f"{media_type.rpartition('/')[2]}-{name}", media_type, example.value["value"]


def _spell(media_type: str, value: Any) -> str:
    return urlencode(value) if media_type.endswith("urlencoded") else json.dumps(value, ensure_ascii=False)


def example_values(node: Node) -> Iterator[Any]:
    """Of a parameter or header, wherever its examples stand."""
    if "example" in node.value:
        yield node.value["example"]
    for _, example in node.items("examples"):
        yield example.value["value"]
    for _, media in node.items("content"):
        yield from example_values(media)
    schema = node.get("schema")
    if schema is not None and "content" not in node.value:
        # Where all values are told, they are the examples.
        yield from schema.value.get("examples") or schema.value.get("enum", [])
        if schema.value.get("type") == "boolean":
            yield from (True, False)


def _with_parameter(sample: Sample, place: str, name: str, node: Node, value: Any) -> Sample:
    if place == "path":
        return replace(sample, path=sample.path | {name: str(value)})
    if place == "header":
        return replace(sample, headers=sample.headers | {name: str(value)})
    assert place == "query", f"{node}: a parameter in {place} is not known here"
    if "content" in node.value:
        pairs = [(name, json.dumps(value))]
    elif node.value.get("style") == "deepObject":
        pairs = [(f"{name}[{key}]", _text(inner)) for key, inner in value.items()]
    else:
        pairs = [(name, _text(one)) for one in (value if isinstance(value, list) else [value])]
    return replace(sample, query=[*sample.query, *pairs])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
