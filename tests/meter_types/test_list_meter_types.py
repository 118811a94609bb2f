from functools import partial
from itertools import chain

import pytest

from tests.usage_engine import ahead, at_once, make_meter, ok


def names(account, **params):
    answer = ok(account.get("/meter-types", **params))
    assert answer.keys() == {"meterTypes"}
    return [meter_type["name"] for meter_type in answer["meterTypes"]]


@pytest.fixture(scope="module")
def listed(untouched):
    """Thirty types, their numbers in the order of creation and against the order of names."""
    for number in range(30):
        untouched.add_type(name=f"T{29 - number:02}", capacity=number % 3, externalRef=f"ref{number % 7}{number}")
    return untouched


def test_a_list_has_25_in_the_order_of_names(listed):
    assert names(listed) == [f"T{number:02}" for number in range(25)]


def test_a_page_is_cut_by_limit_and_skip(listed):
    assert names(listed, limit="3", skip="2") == ["T02", "T03", "T04"]
    assert names(listed, limit=100) == [f"T{number:02}" for number in range(30)]
    assert names(listed, limit=100, skip=29) == ["T29"]
    assert names(listed, skip=30) == names(listed, skip=1_000_000_000) == []


@pytest.mark.parametrize(
    "field",
    [
        *("accountId", "activeFrom", "activeTo", "aggregation", "capacity", "category", "createdAt", "description"),
        *("externalRef", "id", "name", "numberOfMeters", "timezone", "unit", "updatedAt"),
    ],
)
def test_a_list_is_sorted_by_any_plain_field(listed, field):
    up = ok(listed.get("/meter-types", sortBy=field, limit=100))["meterTypes"]
    down = ok(listed.get("/meter-types", sortBy=field, sortOrder="DESC", limit=100))["meterTypes"]
    values = [str(one.get(field)) for one in up]
    assert values == sorted(values)
    assert [str(one.get(field)) for one in down] == values[::-1]
    assert len(up) == len(down) == 30


def test_names_are_sorted_down(listed):
    assert names(listed, sortOrder="DESC", limit=2) == ["T29", "T28"]


def test_pages_of_equal_values_do_not_overlap(listed):
    pages = [names(listed, sortBy="capacity", limit=7, skip=skip) for skip in range(0, 30, 7)]
    assert sorted(chain.from_iterable(pages)) == [f"T{number:02}" for number in range(30)]


def test_a_name_is_found_by_any_part_in_any_case(account):
    for name in ("Needle Basic", "needle", "x-NEEDLE-x", "Need"):
        account.add_type(name=name)
    assert names(account, name="NEEDLE") == ["Needle Basic", "needle", "x-NEEDLE-x"]
    assert names(account, name="edle b") == ["Needle Basic"]
    assert names(account, name="needle x") == []


def test_the_exact_name_comes_first(account):
    """Clients ask for a name and take the first answer."""
    for name in ("A Storage", "Storage", "Storage 2", "B Storage"):
        account.add_type(name=name)
    assert names(account, name="Storage") == ["Storage", "A Storage", "B Storage", "Storage 2"]
    assert names(account, name="Storage", sortBy="name")[0] == "A Storage"
    assert names(account, name="Storage", sortOrder="DESC")[0] == "Storage 2"


@pytest.mark.parametrize("part", ["%", "_", "\\", "a%b", "' OR 1=1 --"])
def test_a_part_is_no_pattern(listed, part):
    assert names(listed, name=part) == []


def test_an_empty_part_is_in_every_name(listed):
    assert len(names(listed, name="")) == 25


def test_names_are_sorted_by_their_bytes(account):
    for name in ("bytes_b", "bytes_B", "bytes-b", "bytes b", "bytes"):
        account.add_type(name=name)
    assert names(account, name="bytes") == ["bytes", "bytes b", "bytes-b", "bytes_B", "bytes_b"]


def test_the_number_of_meters_is_right_after_many_at_once(account):
    meter_type = account.add_type(activeTo=ahead(days=1))
    calls = [partial(account.post, "/meters", make_meter(meterTypeId=meter_type["id"])) for _ in range(20)]
    meters = [answer.json() for answer in at_once(calls)]
    assert ok(account.get("/meter-types", name=meter_type["name"]))["meterTypes"][0]["numberOfMeters"] == 20
    deletions = [partial(account.delete, f"/meters/{meter['id']}") for meter in meters[:5]]
    creations = [partial(account.post, "/meters", make_meter(meterTypeId=meter_type["id"])) for _ in range(7)]
    at_once(deletions + creations)
    assert ok(account.get(f"/meter-types/{meter_type['id']}"))["numberOfMeters"] == 22
    assert ok(account.patch(f"/meter-types/{meter_type['id']}", {"unit": "u"}))["numberOfMeters"] == 22
