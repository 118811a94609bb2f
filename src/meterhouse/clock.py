"""The only reader of time. Everything else takes `now` as an argument.

In a sandbox the clock can be moved ahead. What must not follow it (tokens, rate limits, logs) asks for `real_now`.
"""

from datetime import UTC, datetime, timedelta

_ahead = timedelta()


def now() -> datetime:
    """The present instant of metering, aware, in UTC, to the microsecond."""
    return datetime.now(UTC) + _ahead


def real_now() -> datetime:
    """The present instant of the machine."""
    return datetime.now(UTC)


def set_ahead(ahead: timedelta) -> None:
    """How far this process' clock of metering is before the machine's (see sandbox/store)."""
    global _ahead  # noqa: PLW0603 - one clock
    _ahead = ahead
