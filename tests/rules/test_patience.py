from datetime import UTC, datetime, timedelta

from meterhouse.rules.patience import is_over, next_attempt

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def pauses(jitter):
    return [(next_attempt(attempts, NOW, jitter) - NOW).total_seconds() for attempts in range(1, 12)]


def test_pauses_double_from_a_second_to_five_minutes():
    assert pauses(0.5) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_jitter_moves_them_by_a_quarter_either_way():
    assert pauses(0.0)[:2] == [0.75, 1.5]
    assert pauses(1.0)[:2] == [1.25, 2.5]


def test_any_number_of_attempts_has_a_pause():
    assert next_attempt(1_000_000, NOW, 0.5) == NOW + timedelta(minutes=5)


def test_patience_ends_after_a_day():
    assert not is_over(NOW, NOW + timedelta(hours=24, microseconds=-1))
    assert is_over(NOW, NOW + timedelta(hours=24))
