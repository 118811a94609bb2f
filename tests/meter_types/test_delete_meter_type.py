from functools import partial

from tests.usage_engine import at_once, created, make_meter, make_type, ok, refused


def test_a_deleted_type_is_gone_and_its_name_is_free(account):
    meter_type = account.add_type(externalRef="deleted")
    path = f"/meter-types/{meter_type['id']}"
    assert ok(account.delete(path)) == {"deletedCount": 1}
    refused(account.get(path), 404)
    refused(account.patch(path, {"unit": "u"}), 404)
    refused(account.delete(path), 404)
    assert created(account.post("/meter-types", make_type(name=meter_type["name"], externalRef="deleted")))


def test_a_type_with_meters_is_not_deleted(account):
    meter_type = account.add_type()
    meter = account.add_meter(meter_type)
    refused(account.delete(f"/meter-types/{meter_type['id']}"), 409)
    assert ok(account.get(f"/meter-types/{meter_type['id']}"))["numberOfMeters"] == 1
    ok(account.delete(f"/meters/{meter['id']}"))
    assert ok(account.delete(f"/meter-types/{meter_type['id']}")) == {"deletedCount": 1}


def test_a_deletion_and_new_meters_at_once_leave_no_meter_without_type(account):
    for _ in range(10):
        meter_type = account.add_type()
        path = f"/meter-types/{meter_type['id']}"
        create = [partial(account.post, "/meters", make_meter(meterTypeId=meter_type["id"])) for _ in range(4)]
        deletion, *creations = (answer.status_code for answer in at_once([partial(account.delete, path), *create]))
        found = ok(account.get("/meters", meterTypeId=meter_type["id"]))["meters"]
        if deletion == 200:
            assert creations == [400] * 4
            assert found == []
        else:
            assert deletion == 409
            assert creations == [201] * 4
            assert len(found) == ok(account.get(path))["numberOfMeters"] == 4


def test_of_many_deletions_at_once_one_counts(account):
    path = f"/meter-types/{account.add_type()['id']}"
    assert sorted(answer.status_code for answer in at_once([partial(account.delete, path)] * 8)) == [200] + [404] * 7
