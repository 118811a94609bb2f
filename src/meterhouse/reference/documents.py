"""The documents of openapi/ and the bundle that shows them, read once, as this installation answers them."""

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

PLACEHOLDER = "http://127.0.0.1:8000"
"""What the documents call this installation: in `servers`, in the token URL, in examples."""

# Redoc's "powered by" picture lies on a CDN; its pages ask nobody but us.
_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
_NO_LOGO = b"data:,"


@dataclass(frozen=True, slots=True)
class Asset:
    """Something that is served as it is."""

    content: bytes
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Library:
    """`titles` and `documents` by the document's name."""

    titles: dict[str, str]
    documents: dict[str, Asset]
    bundle: Asset


class _JsonLoader(yaml.CSafeLoader):
    """YAML as JSON has it: a date-time is text, and a member stands once in an object."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        names = [key.value for key, _ in node.value]
        if len(set(names)) < len(names):
            raise yaml.YAMLError(f"a member stands twice in one object{node.start_mark}")
        return super().construct_mapping(node, deep)


def _as_text(loader: _JsonLoader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


_JsonLoader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


def folder() -> Path:
    """In an installed package, or at the top of a checkout."""
    packaged = Path(__file__).parents[1] / "openapi"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "openapi"


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _JsonLoader)  # noqa: S506 - a safe loader
    return document


def read_library(base_url: str) -> Library:
    """`base_url`: how clients reach this server; it takes the place of the documents' own."""
    titles: dict[str, str] = {}
    documents: dict[str, Asset] = {}
    for path in sorted(folder().glob("*.yaml")):
        document = load(path)
        titles[path.stem] = document["info"]["title"]
        text = json.dumps(document, ensure_ascii=False).replace(PLACEHOLDER, base_url.rstrip("/"))
        documents[path.stem] = _asset(text.encode(), "application/json")
    return Library(titles, documents, _asset(_bundle().replace(_LOGO, _NO_LOGO), "text/javascript"))


def _bundle() -> bytes:
    """Redoc, from the package that carries it; the package itself is not imported."""
    found = find_spec("fastapi_offline")
    assert found is not None, "a dependency"
    assert found.origin is not None, "an ordinary package"
    return (Path(found.origin).parent / "static" / "redoc.standalone.js").read_bytes()


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, media_type, f'"{sha256(content).hexdigest()[:32]}"')
