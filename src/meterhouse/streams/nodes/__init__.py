"""The functions of streams, one module each. Adding one is adding a file: a class with a `type` is found here."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from inspect import getmembers, isclass
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, cast

from meterhouse.streams.function import Function, Node, StreamError

REACHED = "outputs"
"""No output of the document: where a writer emits the records that are to be kept with the run."""


@cache
def functions() -> Mapping[str, type[Function]]:
    """By type, as in the document."""
    found: dict[str, type[Function]] = {}
    for module in iter_modules(__path__, f"{__name__}."):
        for _, member in getmembers(import_module(module.name), isclass):
            if member.__module__ == module.name and isinstance(getattr(member, "type", None), str):
                function = cast("type[Function]", member)
                if function.type in found:
                    raise RuntimeError(f"two functions are called {function.type}")
                found[function.type] = function
    return MappingProxyType(found)


def make_function(node: Node) -> Function:
    """Raises StreamError, naming the node and what is wrong with it."""
    function = functions().get(node.type)
    if function is None:
        raise StreamError(f"{node.name}: functions of the type {node.type} cannot be run here")
    try:
        return function(node)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StreamError(f"{node.name}: the params cannot be read: {error!r}") from error


def outputs(params: Mapping[str, Any]) -> dict[str, str]:
    """Name → id of every output beside the default one, fixed and configurable."""
    declared = _object(params.get("multiOutput"))
    fixed = {name: _object(output).get("id") for name, output in _object(declared.get("fixed")).items()}
    configurable = _object(declared.get("configurable")).get("outputs")
    items = [_object(item) for item in configurable] if isinstance(configurable, list) else []
    named = {str(item.get("name")): item.get("id") for item in items}
    return {name: output for name, output in (named | fixed).items() if isinstance(output, str) and output}


def only_outputs(params: Mapping[str, Any], wired: frozenset[str]) -> dict[str, Any]:
    """The params as if only these outputs were declared: what leads nowhere is nobody's wish."""
    declared = _object(params.get("multiOutput"))
    if not declared:
        return dict(params)
    fixed = {
        name: output for name, output in _object(declared.get("fixed")).items() if _object(output).get("id") in wired
    }
    configurable = _object(declared.get("configurable"))
    items = [item for item in configurable.get("outputs") or [] if _object(item).get("id") in wired]
    kept = declared | {"fixed": fixed, "configurable": configurable | {"outputs": items}}
    return {**params, "multiOutput": kept}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
