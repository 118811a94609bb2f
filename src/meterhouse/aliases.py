"""Other spellings of paths: the old /api prefix, and what METERHOUSE_PATH_ALIASES adds.

The paths of collectors, streams and aggregation stores are not published by the product (reference: usage-engine 1.2);
who knows its own can have them without a change of code.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from meterhouse.settings import SettingsError

_OLD_PREFIX = "/api"
_UNDER_OLD_PREFIX = tuple(
    f"{_OLD_PREFIX}/{service}/"
    for service in ("authentication", "usage-metering", "online-collection", "stream-management", "aggregation")
)

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FIXED = re.compile(r"[A-Za-z0-9._~-]+")
_ANY_VALUE = "{}"


@dataclass(frozen=True, slots=True)
class Alias:
    pattern: re.Pattern[str]
    target: str
    """A template for str.format with the pattern's groups."""


Aliases = Mapping[str, tuple[Alias, ...]]
"""By the first segment, so that a path without an alias costs one look-up."""


class PathAliases:
    """ASGI middleware before everything else: what comes after it sees canonical paths only."""

    def __init__(self, app: ASGIApp, aliases: Aliases) -> None:
        self._app = app
        self._aliases = aliases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            canonical = self._canonical(path)
            if canonical is not path:
                scope = {**scope, "path": canonical, "raw_path": quote(canonical).encode()}
        await self._app(scope, receive, send)

    def _canonical(self, path: str) -> str:
        if self._aliases:
            for alias in self._aliases.get(path[1:].partition("/")[0], ()):
                if match := alias.pattern.fullmatch(path):
                    return alias.target.format(**match.groupdict())
        return path.removeprefix(_OLD_PREFIX) if path.startswith(_UNDER_OLD_PREFIX) else path


def read_aliases(given: Mapping[str, str], known_paths: Iterable[str]) -> Aliases:
    """`given`: other path → canonical path, both with {placeholders}. Raises SettingsError for what cannot work."""
    known = {_shape(path) for path in known_paths}
    by_first_segment: dict[str, list[Alias]] = defaultdict(list)
    shapes: set[str] = set()
    for path, target in given.items():
        names, target_names = _placeholders(path), _placeholders(target)
        if sorted(names) != sorted(target_names):
            raise _refused(path, f"has other placeholders than {target}")
        if _shape(target) not in known:
            raise _refused(path, f"no operation has the path {target}")
        pattern = re.compile("/".join(_expression(segment) for segment in path.split("/")))
        hidden = next((shape for shape in sorted(known) if pattern.fullmatch(shape)), None)
        if hidden is not None:
            raise _refused(path, f"would hide {hidden}, which is an operation's own path")
        if _shape(path) in shapes:
            raise _refused(path, "stands there twice, with other placeholders")
        shapes.add(_shape(path))
        by_first_segment[path.split("/")[1]].append(Alias(pattern, target))
    return {segment: tuple(aliases) for segment, aliases in by_first_segment.items()}


def _shape(path: str) -> str:
    return _PLACEHOLDER.sub(_ANY_VALUE, path)


def _expression(segment: str) -> str:
    placeholder = _PLACEHOLDER.fullmatch(segment)
    return f"(?P<{placeholder[1]}>[^/]+)" if placeholder else re.escape(segment)


def _placeholders(path: str) -> list[str]:
    """Of a well-formed path. The first segment is fixed: it is what an alias is found by."""
    root, *segments = path.split("/")
    if root or not segments or not _FIXED.fullmatch(segments[0]):
        raise _refused(path, "must begin with a slash and a name, such as /oc/v1/collectors/{id}/data")
    names = []
    for segment in segments:
        if placeholder := _PLACEHOLDER.fullmatch(segment):
            names.append(placeholder[1])
        elif not _FIXED.fullmatch(segment):
            raise _refused(path, f"{segment!r} must be letters, digits and . _ ~ -, or one {{placeholder}}")
    if len(set(names)) < len(names):
        raise _refused(path, "has a placeholder twice")
    return names


def _refused(path: str, message: str) -> SettingsError:
    return SettingsError(f"METERHOUSE_PATH_ALIASES: {path}: {message}")
