"""Whether exported periods are unchanged and complete: the chain of each meter recomputed (see rules/chain)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from meterhouse.rules.chain import canonical, period_hash

TEXTS = ("id", "periodStart", "periodEnd", "hash")
"""What every period has beside `previousHash`, which is null in a meter's first one."""

Period = Mapping[str, Any]


@dataclass(slots=True)
class Chain:
    """The periods of one meter, oldest first, and what there is to say about some of them; notes are no faults."""

    meter_id: str
    periods: list[Period] = field(default_factory=list)
    faults: list[tuple[Period, str]] = field(default_factory=list)
    notes: list[tuple[Period, str]] = field(default_factory=list)

    def is_faulty(self, period: Period) -> bool:
        return any(period is faulty for faulty, _ in self.faults)


def why_no_period(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "it is no JSON object"
    for name in TEXTS:
        if not isinstance(value.get(name), str):
            return f"it has no text {name!r}"
    if not isinstance(value.get("previousHash", 0), str | None):
        return "it has no 'previousHash'"
    return None


def verify(periods: Iterable[Period]) -> list[Chain]:
    """A chain for each meter, in the order in which meters first come. A meter's periods may come in any order."""
    by_meter: dict[str, list[Period]] = {}
    for period in periods:
        by_meter.setdefault(period["id"], []).append(period)
    return [_verify_meter(Chain(meter_id), found) for meter_id, found in by_meter.items()]


def _verify_meter(chain: Chain, periods: Sequence[Period]) -> Chain:
    once: dict[bytes, Period] = {}
    for period in periods:
        first = once.setdefault(canonical(period), period)
        if first is not period:
            chain.faults.append((first, "it stands here more than once"))
    hashes: dict[int, set[str]] = {}
    for period in once.values():
        computed = period_hash(period)
        hashes[id(period)] = {period["hash"], computed}
        if computed != period["hash"]:
            chain.faults.append((period, "its hash does not fit its content: one of them was changed"))
    pieces = _pieces(list(once.values()), hashes)
    chain.periods = [period for piece in pieces for period in piece]
    if chain.periods[0]["previousHash"] is not None:
        chain.notes.append((chain.periods[0], "earlier periods are not in the export: it begins here"))
    for piece in pieces:
        for before, period in pairwise(piece):
            _check_times(chain, before, period)
    for earlier, later in pairwise(pieces):
        chain.faults.append((later[0], _why_apart(earlier[-1], later[0])))
    return chain


def _pieces(periods: Sequence[Period], hashes: Mapping[int, set[str]]) -> list[list[Period]]:
    """The periods as they follow one another by their hashes, stated or recomputed. One piece, if all is well."""
    followers: dict[str | None, list[Period]] = {}
    known = {text for both in hashes.values() for text in both}
    for period in sorted(periods, key=lambda one: one["periodStart"]):
        followers.setdefault(period["previousHash"], []).append(period)
    first = [period for hash_, found in followers.items() if hash_ not in known for period in found]
    placed: set[int] = set()
    pieces = []
    # Behind those that follow nothing all others, for what was made up may follow in a circle.
    for start in [*first, *periods]:
        piece: list[Period] = []
        following: Period | None = start
        while following is not None and id(following) not in placed:
            placed.add(id(following))
            piece.append(following)
            candidates = [one for text in hashes[id(following)] for one in followers.get(text, ())]
            following = next((one for one in candidates if id(one) not in placed), None)
        if piece:
            pieces.append(piece)
    return sorted(pieces, key=lambda piece: piece[0]["periodStart"])


def _check_times(chain: Chain, before: Period, period: Period) -> None:
    """Of two whose hashes fit together. Where one was changed its times say nothing."""
    end, start = before["periodEnd"], period["periodStart"]
    if end == start or chain.is_faulty(before) or chain.is_faulty(period):
        return
    if start < end:
        chain.faults.append((period, f"it begins before the one before it ends, which is at {end}"))
    else:
        chain.notes.append((period, f"no period had to be stated from {end} on: the meter was idle, its type over"))


def _why_apart(before: Period, period: Period) -> str:
    if period["previousHash"] is None:
        return "it says that it is the first, but others come before it"
    if before["periodEnd"] < period["periodStart"]:
        return f"a period is missing before it: the one before ends at {before['periodEnd']}"
    return (
        f"it does not follow the one before it, {before['periodStart']} to {before['periodEnd']}: "
        "one of them was replaced, or a period is missing"
    )
