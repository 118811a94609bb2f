"""GET /meters/{meterIdOrSlug}/group-by/{groupByKey}/values."""

import pytest

from .make import MISSING, add_meter, ago, ingest, make_event, refused, says


def values_of(client, key="model", slug="usage", **params):
    params = {name.rstrip("_"): value for name, value in params.items()}
    response = client.get(f"/meters/{slug}/group-by/{key}/values", params=params)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def meter(mount):
    add_meter(mount, groupBy={"model": "$.model", "kind": "$.kind"})
    return mount


def make_call(model, time=None, **changes):
    data = {} if model is MISSING else {"model": model}
    return make_event(data=data, time=time or ago(hours=1), **changes)


def test_a_meter_without_events_has_no_values(meter):
    assert values_of(meter) == []


def test_every_value_is_listed_once_in_order(meter):
    ingest(meter, *(make_call(model) for model in ("b", "a", "b", "Z", "é", "a")))
    assert values_of(meter) == ["Z", "a", "b", "é"]


def test_values_are_the_texts_of_groups(meter):
    ingest(meter, *(make_call(model) for model in (5, "5", None, True, 1.5, "", MISSING, {}, ["a"])))
    assert values_of(meter) == ["", "1.5", "5", "null", "true"]


def test_a_meter_is_named_by_id_too(meter):
    ingest(meter, make_call("a"))
    assert values_of(meter, slug=meter.get("/meters/usage").json()["id"]) == ["a"]


def test_each_key_has_its_own_values(meter):
    ingest(meter, make_event(time=ago(hours=1), data={"model": "a", "kind": "b"}))
    assert (values_of(meter, "model"), values_of(meter, "kind")) == (["a"], ["b"])


def test_only_events_of_the_type_count(meter):
    ingest(meter, make_call("a"), make_call("b", type="other"))
    assert values_of(meter) == ["a"]


def test_the_last_24_hours_are_the_default(meter):
    ingest(meter, make_call("young", ago(hours=23)), make_call("old", ago(hours=25)))
    assert values_of(meter) == ["young"]


def test_from_reaches_further_back(meter):
    ingest(meter, make_call("older", ago(days=20)), make_call("oldest", ago(days=28)))
    assert values_of(meter, from_=ago(days=25)) == ["older"]


def test_to_alone_reaches_back_without_end(meter):
    ingest(meter, make_call("ancient", "1999-01-01T00:00:00Z"), make_call("young"))
    assert values_of(meter, to=ago(days=1)) == ["ancient"]


def test_a_range_takes_what_lies_inside(meter):
    ingest(meter, *(make_call(f"d{day}", ago(days=day)) for day in (1, 3, 5)))
    assert values_of(meter, from_=ago(days=4), to=ago(days=2)) == ["d3"]


def test_the_end_is_inclusive_only_on_the_seed_mount(bucket):
    add_meter(bucket.seed, groupBy={"model": "$.model"})
    at = ago(days=2)
    ingest(bucket.seed, make_call("a", at))
    bounds = {"from_": ago(days=3), "to": at}
    assert (values_of(bucket.seed, **bounds), values_of(bucket.openmeter, **bounds)) == (["a"], [])


def test_from_is_inclusive(meter):
    at = ago(days=2)
    ingest(meter, make_call("a", at))
    assert values_of(meter, from_=at) == ["a"]


def test_an_event_without_usable_value_still_has_its_group(meter):
    ingest(meter, make_event(time=ago(hours=1), data={"model": "a", "value": "x"}))
    assert values_of(meter) == ["a"]


REFUSED = [
    {"from": 91},
    {"from": 91, "to": 80},
    {"from": 60, "to": 20},
    {"from": 31, "to": 0},
]


@pytest.mark.parametrize("days", REFUSED)
def test_a_range_too_old_or_too_long_is_refused(meter, days):
    params = {bound: ago(days=number) for bound, number in days.items()}
    refused(meter.get("/meters/usage/group-by/model/values", params=params))


@pytest.mark.parametrize("days", [{"from": 89, "to": 60}, {"from": 29}, {"from": 30, "to": 1}])
def test_the_oldest_and_longest_ranges_are_taken(meter, days):
    assert values_of(meter, **{bound: ago(days=number) for bound, number in days.items()}) == []


@pytest.mark.parametrize("bound", ["from", "to"])
@pytest.mark.parametrize("text", ["yesterday", "2025-01-15", "5"])
def test_a_bound_that_is_no_instant_is_refused(meter, bound, text):
    refused(meter.get("/meters/usage/group-by/model/values", params={bound: text}))


def test_an_unknown_key_is_refused(meter):
    problem = refused(meter.get("/meters/usage/group-by/foo/values"))
    assert "group by key is not valid for this meter" in says(problem)


def test_an_unknown_meter_is_not_found(meter):
    refused(meter.get("/meters/nothing/group-by/model/values"), 404)
