import pytest

from meterhouse.access.operations import ALL_SCOPES, BUCKET_SCOPES, OPERATIONS, effective_rates
from meterhouse.access.token_bucket import policy, units
from meterhouse.settings import Rate, Settings, SettingsError


def test_every_scope_that_an_operation_needs_can_be_held_by_an_application():
    assert {operation.scope for operation in OPERATIONS.values()} - {None} <= set(ALL_SCOPES)
    assert set(BUCKET_SCOPES) < set(ALL_SCOPES)
    assert list(ALL_SCOPES) == sorted(set(ALL_SCOPES))


def test_the_settings_rates_lie_over_the_defaults():
    rate = Rate(requests=1, window_seconds=2, burst=3)
    rates = effective_rates(Settings(rate_limits={"ingest_events": rate}))
    assert rates is not None
    assert rates["ingest_events"] == rate
    assert rates["list_events"] == OPERATIONS["list_events"].rate


def test_rates_that_are_off_are_none():
    assert effective_rates(Settings(rate_limits="off")) is None


def test_a_rate_for_an_unknown_operation_is_refused_by_name():
    rate = Rate(requests=1, window_seconds=1, burst=1)
    with pytest.raises(SettingsError, match="ingest_evnets"):
        effective_rates(Settings(rate_limits={"ingest_evnets": rate}))


def test_a_policy_says_the_burst_and_the_seconds_in_which_it_fills():
    assert policy("ingest_events", OPERATIONS["ingest_events"].rate) == '"ingest_events";q=1000;w=1'
    assert policy("x", Rate(requests=10, window_seconds=60, burst=11)) == '"x";q=11;w=66'


@pytest.mark.parametrize("requests", [1, 7, 999_983, 99_999_989, 100_000_000])
@pytest.mark.parametrize("window_seconds", [1, 300, 86_399, 86_400])
@pytest.mark.parametrize("burst", [1, 10_000_000])
def test_every_allowed_rate_stays_exact_in_whole_numbers(requests, window_seconds, burst):
    refill, cost, tick_us = units(Rate(requests=requests, window_seconds=window_seconds, burst=burst))
    assert refill * window_seconds * 1_000_000 == requests * cost * tick_us
    assert burst * cost + refill < 2**53
