from functools import partial

from tests.usage_engine import ahead, assert_names, at_once, created, make_schedule, make_type, ok, refused


def change(account, meter_type, **changes):
    return ok(account.patch(f"/meter-types/{meter_type['id']}", changes))


def test_only_what_was_sent_changes(account):
    before = account.add_type(capacity=5, description="d", externalRef="stays")
    after = change(account, before, unit="bytes")
    assert after.pop("updatedAt") > before["updatedAt"]
    assert after == {name: value for name, value in (before | {"unit": "bytes"}).items() if name != "updatedAt"}
    assert ok(account.get(f"/meter-types/{before['id']}")).items() >= after.items()


def test_every_member_but_the_aggregation_can_change(account):
    changes = {
        "activeFrom": "2199-01-01T00:00:00.000+00:00",
        "activeTo": "2199-01-02T00:00:00.000+00:00",
        "capacity": 7,
        "category": "other",
        "description": "",
        "externalRef": "another reference",
        "name": "Another name",
        "resetSchedule": make_schedule(day="L"),
        "thresholds": [{"name": "t", "capacityPercentage": 80, "customFields": {}}],
        "timezone": "Asia/Kolkata",
        "unit": "MB",
    }
    assert change(account, account.add_type(), **changes).items() >= changes.items()


def test_null_takes_back(account):
    meter_type = account.add_type(
        externalRef="gone soon", activeFrom=ahead(days=1), activeTo=ahead(days=2), category="c"
    )
    after = change(account, meter_type, externalRef=None, activeTo=None, category=None, activeFrom=None)
    assert not after.keys() & {"externalRef", "activeTo"}
    assert after["category"] == "DEFAULT"
    assert after["activeFrom"] == after["updatedAt"]


def test_an_activity_is_compared_with_what_is_stored(account):
    meter_type = account.add_type(activeFrom=ahead(days=2), activeTo=ahead(days=4))
    path = f"/meter-types/{meter_type['id']}"
    assert_names(refused(account.patch(path, {"activeTo": ahead(days=1)})), "activeTo")
    assert_names(refused(account.patch(path, {"activeFrom": ahead(days=5)})), "activeFrom")
    assert change(account, meter_type, activeFrom=ahead(days=3))["activeTo"] == meter_type["activeTo"]


def test_a_share_of_the_capacity_needs_one_that_is_stored_or_sent(account):
    share = [{"name": "a", "absoluteValue": 1}, {"name": "t", "capacityPercentage": 80}]
    without = account.add_type()
    path = f"/meter-types/{without['id']}"
    assert_names(refused(account.patch(path, {"thresholds": share})), "thresholds[1].capacityPercentage")
    assert change(account, without, thresholds=share, capacity=10)["capacity"] == 10
    assert len(change(account, account.add_type(capacity=0), thresholds=share)["thresholds"]) == 2


def test_an_update_to_a_taken_name_or_reference_is_a_conflict(account):
    taken, other = account.add_type(externalRef="taken by update"), account.add_type()
    path = f"/meter-types/{other['id']}"
    refused(account.patch(path, {"name": taken["name"], "unit": "changed"}), 409)
    refused(account.patch(path, {"externalRef": "taken by update", "unit": "changed"}), 409)
    assert ok(account.get(path)) == other
    assert change(account, other, name=other["name"])["name"] == other["name"]


def test_a_name_given_up_is_free(account):
    meter_type = account.add_type(externalRef="given up")
    change(account, meter_type, name="Renamed", externalRef=None)
    assert created(account.post("/meter-types", make_type(name=meter_type["name"], externalRef="given up")))


def test_updates_at_once_lose_nothing(account):
    meter_type = account.add_type(capacity=1)
    changes = [{"unit": "a"}, {"description": "b"}, {"category": "c"}, {"capacity": 2}, {"timezone": "UTC"}] * 3
    calls = [partial(account.patch, f"/meter-types/{meter_type['id']}", body) for body in changes]
    assert {answer.status_code for answer in at_once(calls)} == {200}
    merged = {name: value for body in changes for name, value in body.items()}
    assert ok(account.get(f"/meter-types/{meter_type['id']}")).items() >= merged.items()


def test_of_two_halves_that_do_not_fit_one_is_refused(account):
    """Each update fits what was stored before: the second must see the first."""
    for _ in range(5):
        meter_type = account.add_type(activeFrom=ahead(days=1), activeTo=ahead(days=9))
        path = f"/meter-types/{meter_type['id']}"
        halves = [{"activeFrom": ahead(days=6)}, {"activeTo": ahead(days=5)}]
        answers = at_once([partial(account.patch, path, half) for half in halves])
        assert sorted(answer.status_code for answer in answers) == [200, 400]
