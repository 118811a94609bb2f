"""What is refused names the field at fault and changes nothing."""

import pytest

from tests.usage_engine import MISSING, assert_names, make_meter, ok, refused

UNKNOWN = "645ed240-02b5-400c-9a3c-21857e8f2ac4"
THRESHOLD = {"name": "t", "absoluteValue": 1}


@pytest.fixture(scope="module")
def kept(untouched):
    return untouched.add_meter(untouched.add_type(externalRef="known"))


def everything(account):
    return ok(account.get("/meters", limit=100))["meters"]


BAD_CREATIONS = [
    *[("meterKey", bad) for bad in (MISSING, None, "", "x" * 37, 5, True, "a\nb", "a\x00", [], {})],
    *[("userId", bad) for bad in (MISSING, None, "", "x" * 321, 5, False, "a\tb", "a\x7f", "\x00", [], {})],
    *[("meterTypeId", bad) for bad in (MISSING, None, "", "x", "x" * 36, UNKNOWN, UNKNOWN[:-1], 5, {})],
    ("meterTypeId", "{" + UNKNOWN[1:-1] + "}"),
    ("meterTypeId", UNKNOWN.replace("-", "") + "    "),
    *[("customFields", bad) for bad in (None, [], "x", 1, {"a": "\x00"}, {"\x00": 1}, {"a": ["\x00"]})],
    *[("customFields", bad) for bad in ({"a": "x" * 20_000}, {"a": 10**1001})],
    *[(name, 1) for name in ("capacity", "value", "thresholds", "domain", "id", "deleteOnReset", "meter_key")],
]


@pytest.mark.parametrize(("field", "value"), BAD_CREATIONS)
def test_a_bad_member_refuses_a_creation(untouched, kept, field, value):
    body = make_meter(**({"meterTypeId": kept["meterTypeId"]} | {field: value}))
    assert_names(refused(untouched.post("/meters", body)), field)
    assert everything(untouched) == [kept]


@pytest.mark.parametrize("member", ["externalRef", "meterTypeExternalRef"])
@pytest.mark.parametrize("value", ["unknown", "", None, 5, "x" * 101, "a\x00"])
def test_a_bad_reference_is_refused_by_name(untouched, kept, member, value):
    assert_names(refused(untouched.post("/meters", make_meter(**{member: value}))), member)
    assert everything(untouched) == [kept]


def test_a_type_is_named_once(untouched, kept):
    names = {"meterTypeId": kept["meterTypeId"], "externalRef": "known", "meterTypeExternalRef": "known"}
    for left_out in names:
        two = {name: value for name, value in names.items() if name != left_out}
        refused(untouched.post("/meters", make_meter(**two)))
    assert everything(untouched) == [kept]


BAD_UPDATES = [
    *[("capacity", bad) for bad in (-1, "5", None, True, [], {}, 10**1001)],
    *[("customFields", bad) for bad in (None, [], "x", 1, {"a": "\x00"})],
    *[("deleteOnReset", bad) for bad in (None, "true", 0, 1, [], {})],
    *[("thresholds", bad) for bad in (None, {}, "x", [None], [THRESHOLD] * 2)],
    ("thresholds", [THRESHOLD | {"name": str(number)} for number in range(6)]),
    ("thresholds[0]", [{"name": "t"}]),
    ("thresholds[0].name", [{"absoluteValue": 1}]),
    ("thresholds[0].capacityPercentage", [{"name": "t", "capacityPercentage": 50}]),
    ("thresholds[0].reachedAt", [THRESHOLD | {"reachedAt": "2026-01-01T00:00:00.000Z"}]),
    *[(name, "x") for name in ("userId", "meterKey", "meterTypeId", "value", "resetAt", "unit", "timezone", "id")],
]


@pytest.mark.parametrize(("field", "value"), BAD_UPDATES)
def test_a_bad_member_refuses_an_update(untouched, kept, field, value):
    body = {"deleteOnReset": True} | {field.partition("[")[0]: value}
    assert_names(refused(untouched.patch(f"/meters/{kept['id']}", body)), field)
    assert everything(untouched) == [kept]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b"null", b'{"capacity": 1, "capacity": 2}', b"\xff"])
def test_a_body_without_proper_members_is_refused(untouched, kept, content):
    refused(untouched.client.patch(f"/meters/{kept['id']}", content=content))
    refused(untouched.client.post("/meters", content=content))
    assert everything(untouched) == [kept]


def test_a_body_of_more_than_a_megabyte_is_refused(untouched, kept):
    body = b'{"customFields": {"a": "' + b"x" * 1024 * 1024 + b'"}}'
    assert untouched.client.patch(f"/meters/{kept['id']}", content=body).status_code == 413


@pytest.mark.parametrize("wrong", ["x", "undefined", UNKNOWN[:-1], UNKNOWN + "0"])
def test_a_malformed_id_is_refused_by_name(untouched, wrong):
    assert_names(refused(untouched.get(f"/meters/{wrong}")), "id")
    assert_names(refused(untouched.patch(f"/meters/{wrong}", {"deleteOnReset": True})), "id")
    assert_names(refused(untouched.delete(f"/meters/{wrong}")), "id")


def test_an_unknown_id_is_not_found(untouched):
    refused(untouched.get(f"/meters/{UNKNOWN}"), 404)
    refused(untouched.patch(f"/meters/{UNKNOWN}", {"deleteOnReset": True}), 404)
    refused(untouched.delete(f"/meters/{UNKNOWN}"), 404)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("limit", bad) for bad in ("0", "101", "x", "")],
        *[("skip", bad) for bad in ("-1", "x")],
        *[("meterTypeId", bad) for bad in ("", "undefined", UNKNOWN[:-1])],
        *[("meterKey", bad) for bad in ("", "x" * 37, "a\x00")],
        *[("userId", bad) for bad in ("", "x" * 321, "a\x00")],
    ],
)
def test_a_bad_query_is_refused_by_name(untouched, field, value):
    assert_names(refused(untouched.get("/meters", **{field: value})), field)
