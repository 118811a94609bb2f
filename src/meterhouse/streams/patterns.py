"""Regular expressions of users: tried in the sandbox, on many texts at once.

There they mean what JSON Schema wants them to mean, for they are JavaScript's, and there they can neither hang nor fill
anything but the sandbox. Who validates asks as if all were known; what was not known is learned, and asked again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meterhouse.streams.function import StreamError
from meterhouse.streams.sandbox.process import ScriptFailedError
from meterhouse.streams.scripts import run_alone

_MAX_PART = 4 * 1024 * 1024
_SHOWN = 3

# In Unicode mode only where it matters, for there the engine lacks its linear way; and some patterns, which escape what
# need not be escaped, cannot be read in it.
_TRY = r"""
const BEYOND = /[\ud800-\udfff]/;
function read(pattern, flags) {
  try { return new RegExp(pattern, flags); } catch { return new RegExp(pattern); }
}
const patterns = payload.patterns.map((text) => {
  const plain = read(text, ""), needed = BEYOND.test(text) || /\\[pPu]\{/.test(text);
  return needed ? { plain: read(text, "u") } : { plain, text };
});
const found = payload.pairs.map(([place, at]) => {
  const pattern = patterns[place], text = payload.texts[at];
  if (pattern.text === undefined || !BEYOND.test(text)) return pattern.plain.test(text);
  pattern.unicode ??= read(pattern.text, "u");
  return pattern.unicode.test(text);
});
await push({ found });
"""


@dataclass(slots=True)
class Patterns:
    """Which texts match which patterns, as far as it is known. `name`: of the function, for its errors."""

    name: str
    missing: bool = False
    """Set where an answer was a guess."""
    _known: dict[tuple[str, str], bool] = field(default_factory=dict)
    _asked: dict[tuple[str, str], None] = field(default_factory=dict)

    def find(self, pattern: str, text: str) -> bool:
        known = self._known.get((pattern, text))
        if known is None:
            self._asked[pattern, text] = None
            self.missing = True
            return True
        return known

    async def require_readable(self, patterns: Iterable[str]) -> None:
        """Raises StreamError for what is no regular expression."""
        for pattern in patterns:
            self._asked[pattern, ""] = None
        await self.learn()

    async def learn(self) -> None:
        """All that was asked. Raises StreamError where that takes too long."""
        for part in _parts(self._asked):
            self._known |= await self._try(part)
        self._asked.clear()

    async def _try(self, pairs: list[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        patterns = {pattern: place for place, pattern in enumerate(dict.fromkeys(pattern for pattern, _ in pairs))}
        texts = {text: place for place, text in enumerate(dict.fromkeys(text for _, text in pairs))}
        places = [(patterns[pattern], texts[text]) for pattern, text in pairs]
        try:
            answer = await run_alone(_TRY, {"patterns": list(patterns), "texts": list(texts), "pairs": places})
        except ScriptFailedError as error:
            raise StreamError(f"{self.name}: {_why(error.failure.message, list(patterns))}") from None
        found = answer.get("found")
        if not isinstance(found, list) or len(found) != len(pairs) or not all(isinstance(one, bool) for one in found):
            raise StreamError(f"{self.name}: the patterns of the schema cannot be tried")
        return dict(zip(pairs, found, strict=True))


def _why(failure: str, patterns: list[str]) -> str:
    if failure.startswith("SyntaxError:"):
        return f"the schema is broken: {failure.removeprefix('SyntaxError: ')[:300]}"
    shown = ", ".join(repr(pattern[:100]) for pattern in patterns[:_SHOWN])
    more = f" and {len(patterns) - _SHOWN} more" if len(patterns) > _SHOWN else ""
    return f"a pattern of the schema takes too long for a value ({failure}): one of {shown}{more}"


def _parts(pairs: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    part: list[tuple[str, str]] = []
    size = 0
    for pattern, text in pairs:
        part.append((pattern, text))
        size += len(pattern) + len(text)
        if size > _MAX_PART:
            yield part
            part, size = [], 0
    if part:
        yield part
