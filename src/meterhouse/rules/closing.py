"""How a period ends: what the meter sends, the statement of the period, the next one (reference: usage engine 2.5)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from meterhouse.rules.chain import period_hash
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.periods import next_instant, schedule_of
from meterhouse.rules.usage import Json, Meter, metered_record
from meterhouse.rules.windows import TZ_VERSION, find_zone

MAX_AT_ONCE = 1_000
"""Periods of one meter at once: one of every minute, after a year without a worker, has half a million."""

SHORTEST = timedelta(milliseconds=1)
"""A period: instants are told in milliseconds, and two periods must not seem to be one."""

Missed = Literal["each", "collapse"]
"""Periods that ended while nobody closed them: each has its record, or the last open one spans them all."""


# A hundred thousand meters of one type end at the same instant.
_next_instant = lru_cache(maxsize=4096)(next_instant)


class CannotCloseError(ValueError):
    """What a meter's row holds makes no sense, its zone or schedule for instance. The meter may be half closed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One record that a meter sends. `statement` is there for the end of a period."""

    meter: Meter
    period_start: datetime
    record: Json
    statement: Json | None = None

    @property
    def kind(self) -> str:
        return "threshold" if self.statement is None else "reset"


@dataclass(slots=True)
class Closing:
    """What closing has left to do: the records in order; the meter goes (deleteOnReset); there is more to close."""

    sent: list[Sent] = field(default_factory=list)
    meter_ends: bool = False
    more: bool = False


def close_due(meter: Meter, now: datetime, missed: Missed, limit: int = MAX_AT_ONCE) -> Closing:
    """Ends every period that is over, up to `limit` of them. CannotCloseError."""
    closing = Closing()
    for _ in range(limit):
        if meter.period_end > now:
            return closing
        after = now if missed == "collapse" else meter.period_end
        _end(meter, meter.period_end, after, now, closing)
        if closing.meter_ends:
            return closing
    closing.more = meter.period_end <= now
    return closing


def close_now(meter: Meter, now: datetime) -> Closing:
    """Flush by stream execution: the running period ends at this moment, whatever the schedule says."""
    closing = Closing()
    if meter.period_start + SHORTEST <= now:
        meter.period_end = now
        _end(meter, now, now, now, closing)
    return closing


def _end(meter: Meter, end: datetime, after: datetime, now: datetime, closing: Closing) -> None:
    """The running period ends at `end`, the next one at the schedule's first instant later than `after`."""
    try:
        next_end = _next_instant(schedule_of(**meter.reset_schedule), find_zone(meter.timezone), after)
        # A type that is over wants no more empty records; used meters still have to be settled.
        over = meter.active_to is not None and meter.active_to < end
        if meter.meter_meta_data or not over:
            closing.sent.append(_statement(meter, now))
        meter.thresholds = [_armed(threshold) for threshold in meter.thresholds]
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise CannotCloseError(str(error) or type(error).__name__) from error
    closing.meter_ends = meter.delete_on_reset
    meter.period_start, meter.period_end = end, next_end
    meter.period_schedule, meter.period_tz_version = meter.reset_schedule, TZ_VERSION
    meter.value = None
    meter.group_breakdowns, meter.carry_first, meter.carry_last, meter.meter_meta_data = [], {}, {}, {}
    meter.updated_at = now
    meter.changed = True


def _armed(threshold: Json) -> Json:
    return {name: value for name, value in threshold.items() if name != "reachedAt"}


def _statement(meter: Meter, now: datetime) -> Sent:
    record = metered_record(meter)
    statement: dict[str, Any] = {
        "recordCount": meter.meter_meta_data.get("count", 0),
        "resetSchedule": dict(meter.period_schedule),
        "tzVersion": meter.period_tz_version,
        "closedAt": format_milliseconds(now),
        "previousHash": meter.last_period_hash,
    }
    meter.last_period_hash = statement["hash"] = period_hash(record | statement)
    return Sent(meter, meter.period_start, record, statement)
