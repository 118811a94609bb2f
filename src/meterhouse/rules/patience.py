"""How long a delivery is tried, and how often."""

from datetime import datetime, timedelta

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
PATIENCE = timedelta(days=1)
"""From the first attempt on. What has failed for so long waits for a person."""


def next_attempt(attempts: int, now: datetime, jitter: float) -> datetime:
    """After so many that failed: pauses double. `jitter`, from 0 to 1, spreads what failed together by a quarter."""
    pause = min(FIRST_PAUSE * (1 << min(attempts - 1, 30)), LONGEST_PAUSE)
    return now + pause * (0.75 + jitter / 2)


def is_over(first_attempt_at: datetime, now: datetime) -> bool:
    return now - first_attempt_at >= PATIENCE
