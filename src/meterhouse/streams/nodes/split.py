"""transforms/split, Route: a record goes to the output of every rule that holds, once to each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from meterhouse.rules.comparisons import COMPARISONS
from meterhouse.rules.records import text_of
from meterhouse.rules.templates import Template, parse_field, parse_template
from meterhouse.streams.function import Node, Record, Step, StreamError
from meterhouse.streams.nodes import outputs

_NO_MATCH = ("discard", "abort", "defaultOutput")


@dataclass(frozen=True, slots=True)
class _Rule:
    key: Template
    holds: Callable[[Any, Any], bool]
    value: Any
    output: str

    def fits(self, payload: Mapping[str, Any]) -> bool:
        value = self.value.value(payload) if isinstance(self.value, Template) else self.value
        return self.holds(self.key.value(payload), value)


class Route:
    type: ClassVar[str] = "transforms/split"

    def __init__(self, node: Node) -> None:
        self._name = node.name
        named = outputs(node.params)
        self._rules = [_rule(node, item, named) for item in node.params.get("rules") or []]
        self._no_match = node.params.get("onNoMatch") or "discard"
        if self._no_match not in _NO_MATCH:
            raise StreamError(f"{node.name}: onNoMatch must be one of {', '.join(_NO_MATCH)}")
        self._default = named.get("default")

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            matched = dict.fromkeys(rule.output for rule in self._rules if rule.fits(record.payload))
            for output in matched:
                step.emit(record, output)
            if not matched:
                self._handle_unmatched(record, step)

    def _handle_unmatched(self, record: Record, step: Step) -> None:
        if self._no_match == "abort":
            raise StreamError(f"{self._name}: no rule holds for the record {text_of(record.payload)[:200]}")
        if self._no_match == "defaultOutput":
            step.emit(record, self._default)
        else:
            step.dropped += 1

    async def flush(self, step: Step, *, final: bool) -> None: ...


def _rule(node: Node, item: Any, named: Mapping[str, str]) -> _Rule:
    if not isinstance(item, dict) or not isinstance(item.get("key"), str) or not isinstance(item.get("output"), str):
        raise StreamError(f"{node.name}: each of rules is an object with the texts `key` and `output`")
    operation = str(item.get("op"))
    if operation not in COMPARISONS:
        raise StreamError(f"{node.name}: unknown op {operation!r}: use one of {', '.join(COMPARISONS)}")
    value = item.get("value")
    output = named.get(item["output"], item["output"])
    return _Rule(
        parse_field(item["key"]),
        COMPARISONS[operation],
        parse_template(value) if isinstance(value, str) else value,
        output,
    )
