from datetime import UTC, datetime
from decimal import Decimal

import pytest

from meterhouse.rules.grouping import BrokenGroupingError, UngroupableError, in_order, parse_grouping
from tests.streams.nodes.make import kept

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def key(field, kind="NONE", **more):
    return {"field": field, "operationType": kind, **more}


def results(keys, operations, payloads):
    """Every record in a step of its own: what lasts is what the database gives back."""
    grouping = parse_grouping({"groupKeys": keys, "operations": operations})
    state = {}
    for payload in payloads:
        grouping.add(state, payload, NOW)
        state = kept(state)
    return [grouping.result(state, text) for text in in_order(state)]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("NUMERIC_SUM", "sum_v", Decimal("0.6")),
        ("NUMERIC_MAX", "max_v", Decimal("0.3")),
        ("NUMERIC_MIN", "min_v", Decimal("0.1")),
        ("NUMERIC_AVERAGE", "average_v", Decimal("0.2")),
        ("GENERAL_COUNT", "count_v", 3),
        ("GENERAL_COUNT_UNIQUE", "count_unique_v", 3),
        ("GENERAL_CARRY_FIRST", "carry_first_v", Decimal("0.1")),
        ("GENERAL_CARRY_LAST", "carry_last_v", "0.3"),
    ],
)
def test_each_operation_has_its_exact_result_and_name(kind, name, value):
    payloads = [
        {"k": 1, "v": Decimal("0.1")},
        {"k": 1, "v": Decimal("0.20")},
        {"k": 1},
        {"k": 1, "v": None},
        {"k": 1, "v": "0.3"},
    ]
    assert results([key("k")], [{"field": "v", "type": kind}], payloads) == [{"k": 1, name: value}]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("NUMERIC_SUM", {"sum_v": 0}),
        ("GENERAL_COUNT", {"count_v": 0}),
        ("NUMERIC_AVERAGE", {}),
        ("GENERAL_CARRY_LAST", {}),
    ],
)
def test_a_field_that_no_record_had_counts_as_nothing(kind, result):
    assert results([key("k")], [{"field": "v", "type": kind}], [{"k": 1}]) == [{"k": 1} | result]


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("MONTH", "month_t", ["2026-01", "2026-02"]),
        ("DAY", "day_t", ["2026-01-31", "2026-02-01"]),
        ("HOUR", "hour_t", ["2026-01-31T23", "2026-02-01T04"]),
        ("WEEK", "week_t", ["2026-W05"]),
        ("QUARTER", "quarter_t", ["2026-Q1"]),
        ("YEAR", "year_t", ["2026"]),
    ],
)
def test_times_are_grouped_by_periods_of_utc(kind, name, values):
    payloads = [{"t": "2026-01-31T23:59:59.999Z"}, {"t": "2026-01-31T23:30:00-05:00"}]
    assert results([key("t", kind)], [], payloads) == [{name: value} for value in values]


def test_an_alias_names_the_result_and_an_empty_one_does_not():
    keys = [key("t", "MONTH", alias="usageMonth"), key("customerId", alias="")]
    operations = [
        {"alias": "cost", "field": "c", "type": "NUMERIC_SUM"},
        {"alias": "", "field": "c", "type": "GENERAL_COUNT"},
    ]
    payload = {"t": "2026-01-02", "customerId": "Cool Cats", "c": 3}
    assert results(keys, operations, [payload]) == [
        {"usageMonth": "2026-01", "customerId": "Cool Cats", "cost": 3, "count_c": 1}
    ]


def test_groups_come_in_the_order_of_their_first_records():
    names = [f"user-{number}" for number in range(20, 0, -1)]
    assert [group["k"] for group in results([key("k")], [], [{"k": name} for name in names + names])] == names


def test_numbers_group_by_value_and_never_with_texts():
    groups = results([key("k")], [], [{"k": 1}, {"k": Decimal("1.0")}, {"k": "1"}, {"k": None}, {}, {"k": True}])
    assert groups == [{"k": 1}, {"k": "1"}, {"k": None}, {}, {"k": True}]


def test_keys_and_values_are_found_inside_objects():
    payload = {"customer": {"id": 7}, "usage": {"bytes": 5}}
    groups = results([key("customer.id")], [{"field": "usage.bytes", "type": "NUMERIC_SUM"}], [payload])
    assert groups == [{"customer": {"id": 7}, "sum_usage.bytes": 5}]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"t": "2026-01-01", "v": "many"}, "v is not a number: 'many'"),
        ({"t": "2026-01-01", "v": True}, "v is not a number: 'true'"),
        ({"t": "yesterday", "v": 1}, "t: 'yesterday' is no date"),
        ({"v": 1}, "t is missing"),
    ],
)
def test_a_record_that_cannot_be_summed_up_leaves_the_sums_as_they_were(payload, reason):
    grouping = parse_grouping(
        {
            "groupKeys": [key("t", "MONTH")],
            "operations": [{"field": "t", "type": "GENERAL_COUNT"}, {"field": "v", "type": "NUMERIC_SUM"}],
        }
    )
    state = {}
    grouping.add(state, {"t": "2026-01-01", "v": 1}, NOW)
    before = kept(state)
    with pytest.raises(UngroupableError, match=reason):
        grouping.add(state, payload, NOW)
    assert kept(state) == before


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"groupKeys": ["k"]},
        {"groupKeys": [{"operationType": "NONE"}]},
        {"groupKeys": [key("k", "CENTURY")]},
        {"groupKeys": [key("k")], "operations": [{"field": "v", "type": "MEDIAN"}]},
    ],
)
def test_broken_keys_and_operations_are_refused(params):
    with pytest.raises(BrokenGroupingError):
        parse_grouping(params)
