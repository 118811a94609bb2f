import itertools

import pytest

from tests.usage_engine import ok


@pytest.fixture(scope="module")
def made(untouched):
    """27 meters: every combination of three types, keys and users, in the order of creation."""
    types = [untouched.add_type() for _ in range(3)]
    combinations = itertools.product(types, ("key a", "key b", "KEY A"), ("u", "user", "User"))
    return [untouched.add_meter(one, meterKey=key, userId=user) for one, key, user in combinations]


def listed(account, **params):
    answer = ok(account.get("/meters", **params))
    assert answer.keys() == {"meters"}
    return answer["meters"]


def test_a_list_has_25_in_the_order_of_creation(untouched, made):
    assert listed(untouched) == made[:25]


def test_a_page_is_cut_by_limit_and_skip(untouched, made):
    assert listed(untouched, limit="3", skip="2") == made[2:5]
    assert listed(untouched, limit=100) == made
    assert listed(untouched, limit=2, skip=26) == made[26:]


@pytest.mark.parametrize("members", [*itertools.combinations(("meterKey", "meterTypeId", "userId"), 1)])
def test_a_filter_is_exact(untouched, made, members):
    check(untouched, made, members)


@pytest.mark.parametrize("count", [2, 3])
def test_filters_hold_together(untouched, made, count):
    for members in itertools.combinations(("meterKey", "meterTypeId", "userId"), count):
        check(untouched, made, members)


def check(account, made, members):
    wanted = {member: made[4][member] for member in members}
    expected = [meter for meter in made if all(meter[member] == value for member, value in wanted.items())]
    assert listed(account, **wanted) == expected
    assert len(expected) == 27 // 3 ** len(members)


def test_what_nothing_matches_is_an_empty_list(untouched, made):
    assert listed(untouched, userId="use") == []
    assert listed(untouched, meterKey="key") == []
    assert listed(untouched, meterTypeId="645ed240-02b5-400c-9a3c-21857e8f2ac4") == []


def test_a_purge_by_type_deletes_what_it_listed(account):
    meter_type = account.add_type()
    for _ in range(3):
        account.add_meter(meter_type)
    for meter in listed(account, meterTypeId=meter_type["id"]):
        ok(account.delete(f"/meters/{meter['id']}"))
    assert listed(account, meterTypeId=meter_type["id"]) == []
    assert ok(account.delete(f"/meter-types/{meter_type['id']}")) == {"deletedCount": 1}
