"""What was checked and how it came out: for people a table, for programs JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["pass", "fail", "skip"]

_WIDEST = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """A behaviour of an operation, and where it is written."""

    operation: str
    behaviour: str
    source: str


@dataclass(frozen=True, slots=True)
class Result:
    rule: Rule
    outcome: Outcome
    expected: str
    seen: str


@dataclass
class Report:
    results: list[Result] = field(default_factory=list)

    def add(self, rule: Rule, outcome: Outcome, expected: str, seen: str) -> None:
        self.results.append(Result(rule, outcome, expected, seen))

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome == outcome for result in self.results)

    @property
    def conforms(self) -> bool:
        """Nothing checked is nothing proved."""
        return self.count("pass") > 0 and self.count("fail") == 0

    def summary(self) -> str:
        skipped = f", {self.count('skip')} not checked" if self.count("skip") else ""
        return f"{self.count('pass')} as they should be, {self.count('fail')} not{skipped}"

    def as_json(self) -> dict[str, Any]:
        results = [
            asdict(one.rule) | {"outcome": one.outcome, "expected": one.expected, "seen": one.seen}
            for one in self.results
        ]
        return {"conforms": self.conforms, "summary": self.summary(), "results": results}

    def as_table(self) -> str:
        """Every check on a line; what failed once more and whole."""
        lines = [_line(one) for one in self.results]
        failures = [line for one in self.results if one.outcome == "fail" for line in _whole(one)]
        head = ["result", "operation", "behaviour", "expected", "seen", "rule"]
        return "\n".join([*_columns([head, *lines]), *failures, "", self.summary()])


def _line(result: Result) -> list[str]:
    rule, outcome = result.rule, result.outcome.upper() if result.outcome == "fail" else result.outcome
    return [outcome, rule.operation, rule.behaviour, _short(result.expected), _short(result.seen), rule.source]


def _whole(result: Result) -> list[str]:
    return [
        "",
        f"FAIL {result.rule.operation}: {result.rule.behaviour}",
        f"  rule      {result.rule.source}",
        f"  expected  {result.expected}",
        f"  seen      {result.seen}",
    ]


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]
