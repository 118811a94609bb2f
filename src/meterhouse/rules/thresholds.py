"""Thresholds of meter types and meters, as they are stored (reference: usage engine 1.4, 2.6).

A threshold is a dict: name, absoluteValue or capacityPercentage, customFields and, on a meter that reached it in its
period, reachedAt.
"""

from collections.abc import Sequence
from typing import Any

Threshold = dict[str, Any]

LIMITS = ("absoluteValue", "capacityPercentage")


def first_percentage(thresholds: Sequence[Threshold]) -> int | None:
    """The place of the first one that is a share of the capacity and so cannot be without one."""
    return next((place for place, one in enumerate(thresholds) if "capacityPercentage" in one), None)


def keep_reached(new: Sequence[Threshold], old: Sequence[Threshold]) -> list[Threshold]:
    """The new list, where what has the same name and limit as before stays reached: it is not announced again."""
    reached = {_identity(one): one["reachedAt"] for one in old if "reachedAt" in one}
    return [one | {"reachedAt": reached[_identity(one)]} if _identity(one) in reached else one for one in new]


def _identity(threshold: Threshold) -> tuple[Any, ...]:
    return (threshold["name"], *(threshold.get(limit) for limit in LIMITS))
