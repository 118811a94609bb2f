from functools import partial

from tests.usage_engine import at_once, ok, refused


def change(account, meter, **changes):
    return ok(account.patch(f"/meters/{meter['id']}", changes))


def test_only_what_was_sent_changes(account):
    before = account.add_meter(account.add_type(capacity=5), customFields={"a": 1})
    after = change(account, before, deleteOnReset=True)
    assert after["updatedAt"] > before["updatedAt"]
    assert after == before | {"deleteOnReset": True, "updatedAt": after["updatedAt"]}
    assert ok(account.get(f"/meters/{before['id']}")) == after


def test_all_four_members_can_change(account):
    changes = {
        "capacity": 0.5,
        "customFields": {"b": {"c": [1]}},
        "deleteOnReset": True,
        "thresholds": [{"name": "t", "capacityPercentage": 150, "customFields": {"action": "STOP"}}],
    }
    assert change(account, account.add_meter(account.add_type()), **changes).items() >= changes.items()


def test_custom_fields_are_replaced_not_merged(account):
    meter = account.add_meter(account.add_type(), customFields={"a": 1, "b": 2})
    assert change(account, meter, customFields={"c": 3})["customFields"] == {"c": 3}
    assert change(account, meter, customFields={})["customFields"] == {}


def test_thresholds_are_replaced(account):
    old = [{"name": "old", "absoluteValue": 1, "customFields": {}}]
    meter = account.add_meter(account.add_type(thresholds=old))
    new = [{"name": "new", "absoluteValue": 2, "customFields": {}}]
    assert change(account, meter, thresholds=new)["thresholds"] == new
    assert change(account, meter, thresholds=[])["thresholds"] == []


def test_an_update_does_not_reach_the_type_or_other_meters(account):
    meter_type = account.add_type(capacity=5)
    meter, other = account.add_meter(meter_type), account.add_meter(meter_type)
    change(account, meter, capacity=6)
    assert ok(account.get(f"/meter-types/{meter_type['id']}"))["capacity"] == 5
    assert ok(account.get(f"/meters/{other['id']}")) == other


def test_updates_at_once_lose_nothing(account):
    meter = account.add_meter(account.add_type())
    changes = [{"capacity": 3}, {"deleteOnReset": True}, {"customFields": {"a": 1}}, {"thresholds": []}] * 4
    calls = [partial(account.patch, f"/meters/{meter['id']}", body) for body in changes]
    assert {answer.status_code for answer in at_once(calls)} == {200}
    merged = {name: value for body in changes for name, value in body.items()}
    assert ok(account.get(f"/meters/{meter['id']}")).items() >= merged.items()


def test_a_deleted_meter_is_gone(account):
    meter = account.add_meter(account.add_type())
    path = f"/meters/{meter['id']}"
    assert ok(account.delete(path)) == {"deletedCount": 1}
    refused(account.get(path), 404)
    refused(account.patch(path, {"capacity": 1}), 404)
    refused(account.delete(path), 404)
