"""How many calls each receiver may have at once in one worker, so that those that hang or fail hold up nobody else."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from meterhouse.webhooks.queue_store import Found, Lane, Search

MAX_CALLS = 32
MAX_OF_LANE = 8
MAX_DOUBTFUL = 24
"""Calls to receivers that have not shown to be well: what is left is for those that have."""

FIRST_WIDTH = 2
PAUSE_SECONDS = 0.1
"""Between the calls to one that fails, however much is due for it."""

MAX_KNOWN = 2_000
_BEGINNING = (UUID(int=0), UUID(int=0))


@dataclass(slots=True)
class _State:
    """`width`: how many calls at once. It doubles with each success, and is 1 after a failure."""

    width: int = FIRST_WIDTH
    calls: int = 0
    rests_until: float = 0.0

    @property
    def is_doubtful(self) -> bool:
        return self.width <= FIRST_WIDTH


class Lanes:
    """`at`, an instant in seconds, is of any steady clock."""

    def __init__(self) -> None:
        self._states: defaultdict[Lane, _State] = defaultdict(_State)
        self._after = _BEGINNING

    def search(self, at: float) -> Search | None:
        """None while all calls are taken."""
        free = MAX_CALLS - sum(state.calls for state in self._states.values())
        if free <= 0:
            return None
        strangers = FIRST_WIDTH if self._doubtful() < MAX_DOUBTFUL else 0
        rooms = {
            lane: self._room(state, at)
            for lane, state in self._states.items()
            if state.calls or state.width < FIRST_WIDTH or not strangers
        }
        return Search(free, self._after, rooms, strangers)

    def _room(self, state: _State, at: float) -> int:
        if state.rests_until > at or (state.is_doubtful and self._doubtful() >= MAX_DOUBTFUL):
            return 0
        return max(0, state.width - state.calls)

    def _doubtful(self) -> int:
        return sum(state.calls for state in self._states.values() if state.is_doubtful)

    def choose(self, found: Iterable[Found], search: Search) -> list[Found]:
        """As many as there may be: of each lane the first, then of each the second, and so on. By lane they came."""
        by_lane: defaultdict[Lane, list[Found]] = defaultdict(list)
        for one in found:
            by_lane[one.lane].append(one)
        ranked = sorted((rank, place) for place, one in enumerate(by_lane.values()) for rank in range(len(one)))
        waiting = list(by_lane.values())
        chosen: list[Found] = []
        doubtful = self._doubtful()
        for rank, place in ranked:
            one = waiting[place][rank]
            is_doubtful = self._states[one.lane].is_doubtful if one.lane in self._states else True
            if len(chosen) < search.lanes and not (is_doubtful and doubtful >= MAX_DOUBTFUL):
                chosen.append(one)
                doubtful += is_doubtful
        # Next time the lanes behind these have their turn; where there are none, it begins anew.
        self._after = waiting[-1][0].lane if len(by_lane) >= search.lanes else _BEGINNING
        return chosen

    def begin(self, lane: Lane) -> None:
        if len(self._states) >= MAX_KNOWN:
            self._states = defaultdict(_State, {known: state for known, state in self._states.items() if state.calls})
        self._states[lane].calls += 1

    def end(self, lane: Lane, at: float, *, well: bool) -> None:
        state = self._states[lane]
        state.calls -= 1
        state.width = min(state.width * 2, MAX_OF_LANE) if well else 1
        state.rests_until = 0.0 if well else at + PAUSE_SECONDS
