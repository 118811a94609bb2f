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


def ahead() -> timedelta:
    """How far `now` is before `real_now`: nothing, but in sandboxes."""
    return _ahead


def set_ahead(by: timedelta) -> None:
    """How far this process' clock of metering is before the machine's (see sandbox/store).

    Less than before is old news: it was read before somebody moved the clock on.
    """
    global _ahead  # noqa: PLW0603 - one clock
    _ahead = max(_ahead, by)
