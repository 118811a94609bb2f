"""Conditions on a record's values, by the names that documents give them (reference: streams, transforms/split)."""

from collections.abc import Callable, Mapping
from typing import Any

from meterhouse.rules.records import MISSING, compare, equal, text_of


def _ordered(holds: Callable[[int], bool]) -> Callable[[Any, Any], bool]:
    """What has no order, such as a missing value, is neither less nor greater."""

    def ordered(found: Any, value: Any) -> bool:
        order = compare(found, value)
        return order is not None and holds(order)

    return ordered


def _contains(found: Any, value: Any) -> bool:
    if isinstance(found, list):
        return any(equal(element, value) for element in found)
    return found is not MISSING and text_of(value) in text_of(found)


def _exists(found: Any, _: Any) -> bool:
    return found is not MISSING and found is not None


COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "ne": lambda found, value: not equal(found, value),
    "gt": _ordered(lambda order: order > 0),
    "ge": _ordered(lambda order: order >= 0),
    "lt": _ordered(lambda order: order < 0),
    "le": _ordered(lambda order: order <= 0),
    "contains": _contains,
    "startsWith": lambda found, value: found is not MISSING and text_of(found).startswith(text_of(value)),
    "endsWith": lambda found, value: found is not MISSING and text_of(found).endswith(text_of(value)),
    "exists": _exists,
}
"""The value found, which may be MISSING, and the one to compare it with. Numbers and numeric texts are numbers."""
