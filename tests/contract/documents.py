"""The documents of openapi/, read into operations. A new file or operation there needs no change here."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from meterhouse.reference.documents import folder
from meterhouse.reference.documents import load as read_yaml

FOLDER = folder()
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True)
class Node:
    """A part of a document with the JSON pointer at which it stands, references followed."""

    document: "Document"
    pointer: str
    value: Any

    def get(self, *names: str) -> "Node | None":
        """What stands under the names, or None."""
        node: Node = self
        for name in names:
            if not isinstance(node.value, (dict, list)) or (isinstance(node.value, dict) and name not in node.value):
                return None
            inner = node.value[int(name)] if isinstance(node.value, list) else node.value[name]
            node = Node(self.document, f"{node.pointer}/{escape(name)}", inner).resolved()
        return node

    def items(self, *names: str) -> "Iterator[tuple[str, Node]]":
        """The named parts of what stands under `names`; none if nothing does."""
        node = self.get(*names)
        if node is None:
            return
        keys = node.value if isinstance(node.value, dict) else [str(index) for index in range(len(node.value))]
        for key in list(keys):
            inner = node.get(key)
            assert inner is not None
            yield key, inner

    def resolved(self) -> "Node":
        node: Node = self
        while isinstance(node.value, dict) and isinstance(node.value.get("$ref"), str):
            node = self.document.at(node.value["$ref"])
        return node

    def __str__(self) -> str:
        return f"{self.document.name}.yaml#{self.pointer}"


@dataclass(frozen=True)
class Operation:
    """One method at one path. `row` is its name in access/operations.py."""

    id: str
    row: str
    method: str
    path: str
    node: Node
    path_item: Node

    @property
    def of_sandboxes(self) -> bool:
        """Whether it is there with METERHOUSE_SANDBOX=true alone."""
        return bool(self.node.value.get("x-sandbox", False))

    @property
    def document(self) -> "Document":
        return self.node.document

    def parameters(self) -> dict[tuple[str, str], Node]:
        """(in, name) → parameter; those of the path first, as the operation may replace them."""
        found = [*self.path_item.items("parameters"), *self.node.items("parameters")]
        return {(node.value["in"], node.value["name"]): node for _, node in found}

    def responses(self) -> dict[int, Node]:
        return {int(status): node for status, node in self.node.items("responses")}

    def body_schemas(self) -> dict[str, Node]:
        """Media type → schema of the request's body."""
        found = {media_type: node.get("schema") for media_type, node in self.node.items("requestBody", "content")}
        return {media_type: node for media_type, node in found.items() if node is not None}

    def __str__(self) -> str:
        return f"{self.id} ({self.method} {self.path})"


@dataclass(frozen=True)
class Document:
    name: str
    value: dict[str, Any] = field(repr=False)

    @property
    def root(self) -> Node:
        return Node(self, "", self.value)

    def at(self, reference: str) -> Node:
        """The part that a `#/…` reference names."""
        assert reference.startswith("#/"), (
            f"{self.name}.yaml: only references inside the file are followed: {reference}"
        )
        value: Any = self.value
        for part in reference[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
        return Node(self, reference[1:], value)

    def operations(self) -> Iterator[Operation]:
        for path, item in self.root.items("paths"):
            for method, node in item.items():
                if method in METHODS:
                    operation_id = node.value.get("operationId", f"{method} {path}")
                    row = node.value.get("x-operation", operation_id)
                    yield Operation(operation_id, row, method.upper(), path, node, item)


def escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def load(path: Path) -> Document:
    # Through JSON, so that parts that YAML shares are apart, and what JSON does not know is an error.
    return Document(path.stem, json.loads(json.dumps(read_yaml(path), allow_nan=False)))


def load_all() -> list[Document]:
    documents = [load(path) for path in sorted(FOLDER.glob("*.yaml"))]
    assert documents, f"no document in {FOLDER}"
    return documents


class Paths:
    """Finds a documented path by a request's. Literal segments go before templated ones."""

    def __init__(self, documents: list[Document]) -> None:
        self._exact: dict[str, str] = {}
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        self.operations: dict[str, dict[str, Operation]] = {}
        for document in documents:
            for operation in document.operations():
                methods = self.operations.setdefault(operation.path, {})
                assert operation.method not in methods, f"{operation} is documented twice"
                methods[operation.method] = operation
        for path in sorted(self.operations, key=lambda path: [part.startswith("{") for part in path.split("/")]):
            if "{" not in path:
                self._exact[path] = path
            pieces = [part for part in re.split(r"(\{[^}]+\})", path) if part]
            parts = [f"(?P<{_group(part)}>[^/]+)" if part[0] == "{" else re.escape(part) for part in pieces]
            self._patterns.append((re.compile("".join(parts)), path))

    def find(self, path: str) -> tuple[dict[str, Operation], dict[str, str]]:
        """The operations at the path, by method, and the values in the path; none if nothing is documented there."""
        if path in self._exact:
            return self.operations[path], {}
        for pattern, template in self._patterns:
            if match := pattern.fullmatch(path):
                names = re.findall(r"\{([^}]+)\}", template)
                return self.operations[template], {name: match[_group(f"{{{name}}}")] for name in names}
        return {}, {}


def _group(placeholder: str) -> str:
    return "p_" + re.sub(r"\W", "_", placeholder[1:-1])
