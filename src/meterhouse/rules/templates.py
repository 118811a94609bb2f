"""Texts with places for a record's values: `${payload.a.b}` and `@{payload.a.b}` (reference: streams, The document)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from meterhouse.rules.records import MISSING, find, join, text_of

_PLACE = re.compile(r"[$@]\{\s*+payload(?:\.([^{}]++)|(\[[^{}]++)|\s*+)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """`parts`: literal texts and paths in turn, a literal first and last; an empty path is the whole record."""

    parts: tuple[str, ...]

    @property
    def is_place(self) -> bool:
        """One value and nothing beside it."""
        return len(self.parts) == 3 and not self.parts[0] and not self.parts[2]

    @property
    def paths(self) -> tuple[str, ...]:
        return self.parts[1::2]

    def is_filled(self, payload: Mapping[str, Any]) -> bool:
        """Whether any of its places has more than nothing to show."""
        return any(_reach(payload, path) not in (MISSING, None, "") for path in self.paths)

    def value(self, payload: Mapping[str, Any]) -> Any:
        """The value itself where the template is one place, MISSING where that leads nowhere; else the text."""
        if self.is_place:
            return _reach(payload, self.parts[1])
        return self.text(payload)

    def text(self, payload: Mapping[str, Any]) -> str:
        """TooLongTextError."""
        return join(text_of(_reach(payload, part)) if place % 2 else part for place, part in enumerate(self.parts))


def _reach(payload: Mapping[str, Any], path: str) -> Any:
    return find(payload, path) if path else payload


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Every text is a template; what is no place of the record stays as it is."""
    parts: list[str] = []
    end = 0
    for match in _PLACE.finditer(text):
        parts += (text[end : match.start()], (match[1] or match[2] or "").rstrip())
        end = match.end()
    return Template((*parts, text[end:]))


def parse_field(text: str) -> Template:
    """As parse_template, where a record's value is meant: a text without places is the name of a field."""
    template = parse_template(text)
    return template if template.paths else Template(("", text, ""))


def fill(value: Any, payload: Mapping[str, Any]) -> Any:
    """The value with all texts in it filled, however deep. A place alone keeps its type; missing is empty text."""
    if isinstance(value, str):
        filled = parse_template(value).value(payload)
        return "" if filled is MISSING else filled
    if isinstance(value, Mapping):
        return {name: fill(item, payload) for name, item in value.items()}
    if isinstance(value, list):
        return [fill(item, payload) for item in value]
    return value
