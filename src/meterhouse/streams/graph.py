"""A stream's document as a graph: its functions in the order in which records walk, and where each output leads."""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from meterhouse.streams.function import Node, StreamError

MAX_NODES = 500
MAX_EDGES = 2_000


@dataclass(frozen=True, slots=True)
class Graph:
    """`nodes`: from readers to writers. `targets`: (node id, output id or None for the default) → node ids."""

    nodes: tuple[Node, ...]
    targets: Mapping[tuple[str, str | None], tuple[str, ...]]

    def wired_outputs(self, node_id: str) -> frozenset[str]:
        """The outputs of a function that lead somewhere."""
        return frozenset(output for source, output in self.targets if source == node_id and output is not None)


def read_graph(document: Mapping[str, Any], meter_keys: Mapping[str, str]) -> Graph:
    """`meter_keys`: node id → the key of a Meter processor. Raises StreamError, naming what is broken."""
    listed = [_node(item, meter_keys) for item in document.get("nodes") or []]
    nodes = {node.id: node for node in listed}
    edges = document.get("edges") or []
    if len(nodes) < len(listed):
        raise StreamError("two functions have the same id")
    if not nodes:
        raise StreamError("the stream has no functions")
    if len(nodes) > MAX_NODES or len(edges) > MAX_EDGES:
        raise StreamError(f"a stream has at most {MAX_NODES} functions and {MAX_EDGES} edges")
    targets: dict[tuple[str, str | None], list[str]] = {}
    before: dict[str, set[str]] = {node_id: set() for node_id in nodes}
    for edge in edges:
        source, target, output = _edge(edge)
        if source not in nodes or target not in nodes:
            raise StreamError(f"the edge {edge.get('id')} leads from or to a function that does not exist")
        targets.setdefault((source, output), []).append(target)
        before[target].add(source)
    try:
        order = tuple(TopologicalSorter(before).static_order())
    except CycleError:
        raise StreamError("the stream's functions are wired in a circle") from None
    return Graph(tuple(nodes[node_id] for node_id in order), {key: tuple(value) for key, value in targets.items()})


def _node(item: Any, meter_keys: Mapping[str, str]) -> Node:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not isinstance(item.get("type"), str):
        raise StreamError("each of `nodes` is an object with the texts `id` and `type`")
    if not isinstance(item.get("params") or {}, dict):
        raise StreamError(f"the params of the function {item['id']} must be an object")
    params = dict(item.get("params") or {})
    if item["id"] in meter_keys:
        params["meterKey"] = meter_keys[item["id"]]
    name = item.get("name") or item["type"]
    version = item.get("schemaVersion") or 1
    if not isinstance(version, int):
        raise StreamError(f"the schemaVersion of the function {item['id']} must be a whole number")
    return Node(item["id"], item["type"], str(name), params, version)


def _edge(item: Any) -> tuple[str, str, str | None]:
    if isinstance(item, dict):
        source, target, output = item.get("from"), item.get("to"), item.get("output")
        if isinstance(source, str) and isinstance(target, str) and (output is None or isinstance(output, str)):
            return source, target, output
    raise StreamError("each of `edges` is an object with the texts `from`, `to` and perhaps `output`")
