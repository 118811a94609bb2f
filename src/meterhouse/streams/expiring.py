"""What is worth keeping for a while in one process: access tokens and answers."""

from collections.abc import Hashable
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Expiring(Generic[Value]):
    """Values until their time is up. Past `max_size` in all, the oldest go first."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._kept: dict[Hashable, tuple[Value, float, int]] = {}

    def find(self, key: Hashable) -> Value | None:
        if key in self._kept:
            value, ends_at, _ = self._kept[key]
            if monotonic() < ends_at:
                return value
            self.forget(key)
        return None

    def keep(self, key: Hashable, value: Value, seconds: float, size: int = 1) -> None:
        self.forget(key)
        self._kept[key] = (value, monotonic() + seconds, size)
        self._size += size
        while self._size > self._max_size:
            self.forget(next(iter(self._kept)))

    def forget(self, key: Hashable) -> None:
        if key in self._kept:
            self._size -= self._kept.pop(key)[2]
