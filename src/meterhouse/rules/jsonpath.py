"""The JSONPath subset of meters: what ClickHouse's JSON_VALUE accepts, with its results (reference: metering 3.2, 8.7).

A path is `$` and steps: `.name`, `['any name']`, `[3]`, `[*]`, `[0 to 2]` (the end is not included), `[1,4 to 6]`.
Its result is the first scalar it reaches; objects and arrays are passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_PATH_LENGTH = 512
MAX_STEPS = 32
MAX_INDEX = 1_000_000

_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z0-9_]+)
      | \[\s*'(?P<single>[^'\\\x00]+)'\s*\]
      | \[\s*"(?P<double>[^"\\\x00]+)"\s*\]
      | \[\s*(?P<all>\*)\s*\]
      | \[(?P<ranges>[0-9,\sto]+)\]""",
    re.VERBOSE,
)
_RANGE = re.compile(r"\s*([0-9]{1,7})(?:\s+to\s+([0-9]{1,7}))?\s*")


class JSONPathError(ValueError):
    """The text is outside the subset; the message says where."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str


@dataclass(frozen=True, slots=True)
class Elements:
    """Array elements by half-open index ranges, in the order written; no ranges: all of them."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def single(self) -> int | None:
        """The index, where the step names exactly one."""
        if len(self.ranges) == 1 and self.ranges[0][1] == self.ranges[0][0] + 1:
            return self.ranges[0][0]
        return None


Step = Member | Elements
MISSING = object()


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path. Raises JSONPathError."""
    if len(text) > MAX_PATH_LENGTH:
        raise JSONPathError(f"a JSONPath has at most {MAX_PATH_LENGTH} characters")
    if not text.startswith("$"):
        raise JSONPathError("a JSONPath begins with $")
    steps: list[Step] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise JSONPathError(f"invalid JSONPath at character {position + 1}: {text[position : position + 20]!r}")
        steps.append(_step(match))
        position = match.end()
    if len(steps) > MAX_STEPS:
        raise JSONPathError(f"a JSONPath has at most {MAX_STEPS} steps")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    name = match["name"] or match["single"] or match["double"]
    if name is not None:
        return Member(name)
    if match["all"]:
        return Elements(())
    return Elements(tuple(_range(part) for part in match["ranges"].split(",")))


def _range(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise JSONPathError(f"invalid index {text.strip()!r} in JSONPath")
    start = int(match[1])
    end = int(match[2]) if match[2] else start + 1
    if end <= start or end > MAX_INDEX:
        raise JSONPathError(f"invalid range {text.strip()!r} in JSONPath: the end must be greater than the start")
    return start, end


def first_scalar(document: Any, steps: tuple[Step, ...]) -> Any:
    """The first scalar at the path, or MISSING. JSON null is a scalar: None."""
    for value in _walk(document, steps):
        if not isinstance(value, (dict, list)):
            return value
    return MISSING


def _walk(value: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, Member):
        if isinstance(value, dict) and step.name in value:
            yield from _walk(value[step.name], rest)
    elif isinstance(value, list):
        for start, end in step.ranges or ((0, len(value)),):
            for element in value[start:end]:
                yield from _walk(element, rest)
