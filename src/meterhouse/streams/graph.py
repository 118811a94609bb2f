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
    nodes = {node.id: node for node in (_node(item, meter_keys) for item in document.get("nodes") or [])}
    edges = [_edge(item) for item in document.get("edges") or []]
    if not nodes:
        raise StreamError("the stream has no functions")
    if len(nodes) > MAX_NODES or len(edges) > MAX_EDGES:
        raise StreamError(f"a stream has at most {MAX_NODES} functions and {MAX_EDGES} edges")
    targets: dict[tuple[str, str | None], list[str]] = {}
    before: dict[str, set[str]] = {node_id: set() for node_id in nodes}
    for edge_id, source, target, output in edges:
        if source not in nodes or target not in nodes:
            raise StreamError(f"the edge {edge_id} leads from or to a function that does not exist")
        targets.setdefault((source, output), []).append(target)
        before[target].add(source)
    try:
        order = tuple(TopologicalSorter(before).static_order())
    except CycleError:
        raise StreamError("the stream's functions are wired in a circle") from None
    return Graph(tuple(nodes[node_id] for node_id in order), {key: tuple(value) for key, value in targets.items()})


def _edge(item: Any) -> tuple[Any, str, str, str | None]:
    """Its id, from where, to where, and by which output: None is the default one."""
    if not isinstance(item, dict) or not isinstance(item.get("from"), str) or not isinstance(item.get("to"), str):
        raise StreamError("each of `edges` is an object with the texts `from` and `to`")
    if not isinstance(item.get("output"), str | None):
        raise StreamError(f"the edge {item.get('id')} has an `output` that is no text")
    return item.get("id"), item["from"], item["to"], item.get("output")


def _node(item: Any, meter_keys: Mapping[str, str]) -> Node:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not isinstance(item.get("type"), str):
        raise StreamError("each of `nodes` is an object with the texts `id` and `type`")
    try:
        params = dict(item.get("params") or {})
        version = int(item.get("schemaVersion") or 1)
    except (TypeError, ValueError):
        raise StreamError(
            f"the function {item['id']} has no object in `params` or no number in `schemaVersion`"
        ) from None
    if item["id"] in meter_keys:
        params["meterKey"] = meter_keys[item["id"]]
    name = item.get("name") or item["type"]
    return Node(item["id"], item["type"], str(name), params, version)
