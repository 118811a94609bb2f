"""What is refused names the field at fault and changes nothing."""

import pytest

from tests.usage_engine import MISSING, ahead, assert_names, make_schedule, make_type, ok, refused

LONG = "x" * 1001


def threshold(**changes):
    return {"name": "t", "absoluteValue": 1} | changes


# field → values that neither POST nor PATCH takes
BAD = {
    "name": ["", "x" * 81, "a:b", "a/b", "å", "tab\there", "line\n", "a\x7f", "a\x00", 5, True, None, [], {}, "a,b"],
    "unit": ["", "x" * 51, 1, None, "a\nb", "a\x00b", False],
    "category": ["", "x" * 51, 1, "a\x1fb", [], {}],
    "description": ["x" * 201, 5, None, "a\x00", "a\x0bb", ["a"]],
    "externalRef": ["", "x" * 101, 7, "a\rb", {}],
    "timezone": [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "+01:00",
        1,
        None,
        "europe/stockholm",
        "localtime",
        "UTC\x00",
        LONG,
    ],
    "activeFrom": ["", "now", "2199-01-01", "2199-01-01T00:00:00", "2199-13-01T00:00:00Z", 4102444800, True, {}],
    "activeTo": ["", "2199-02-30T00:00:00Z", "2020-01-01T00:00:00Z", 5, "2199-01-01T00:00:00+25:00"],
    "capacity": [-1, -0.1, "5", "", True, None, [], {}, 10**1001],
    "thresholds": [
        None,
        {},
        "x",
        [1],
        [None],
        [threshold(name=f"t{number}") for number in range(6)],
        [threshold(), threshold(absoluteValue=2)],
    ],
    "thresholds[0]": [[{"name": "t"}], [threshold(capacityPercentage=5)]],
    "thresholds[0].name": [
        [{"absoluteValue": 1}],
        [threshold(name="")],
        [threshold(name="x" * 81)],
        [threshold(name=1)],
        [threshold(name="a\nb")],
    ],
    "thresholds[0].absoluteValue": [[threshold(absoluteValue=bad)] for bad in ("1", None, True, [], 10**1001)],
    "thresholds[0].capacityPercentage": [
        [{"name": "t", "capacityPercentage": bad}] for bad in (0, -1, "50", None, True, 50)
    ],
    "thresholds[0].customFields": [
        [threshold(customFields=bad)] for bad in (None, [], "x", 1, {"a": "\x00"}, {"a\x00": 1}, {"a": "x" * 20_000})
    ],
    "thresholds[0].reachedAt": [[threshold(reachedAt="2199-01-01T00:00:00.000Z")]],
    "thresholds[0].colour": [[threshold(colour="red")]],
    "resetSchedule": [
        None,
        [],
        "0 0 1 * *",
        make_schedule(month="2", day="31"),
        make_schedule(month="2", day="30-31"),
        make_schedule(month="4,6,9,11", day="31"),
    ],
    "resetSchedule.second": [make_schedule(second="0")],
    "resetSchedule.year": [make_schedule(year="*")],
    "resetSchedule.minute": [
        make_schedule(minute=bad)
        for bad in (MISSING, "", "60", "-1", "5-", "a", "*/0", "*/60", "1,,2", "10-5", "R", "H", "?", "5/10", "٣", 0)
    ],
    "resetSchedule.hour": [
        make_schedule(hour=bad) for bad in (MISSING, "24", "*/24", "0 0", " 0", "0\n", None, "L", "0,", "1" * 300)
    ],
    "resetSchedule.day": [
        make_schedule(day=bad) for bad in (MISSING, "0", "32", "LW", "15W", "L-3", "1-L", "l", "?", "*/32", 1)
    ],
    "resetSchedule.month": [make_schedule(month=bad) for bad in (MISSING, "0", "13", "JAN", "*/13", "L", "1.5")],
    "resetSchedule.weekday": [
        make_schedule(weekday=bad) for bad in (MISSING, "8", "MON", "1#2", "L", "5L", "6-1", "@weekly", "*/8")
    ],
    "colour": ["red"],
    "id": ["645ed240-02b5-400c-9a3c-21857e8f2ac4"],
    "active_from": ["2199-01-01T00:00:00Z"],
}

CASES = [(field, value) for field, values in BAD.items() for value in values]
THRESHOLD_OF = '{"thresholds": [{"name": "t", "absoluteValue": 1, "customFields": FIELDS}]}'
CREATE_ONLY = [
    ("name", MISSING),
    ("unit", MISSING),
    ("timezone", MISSING),
    ("resetSchedule", MISSING),
    *[("aggregation", bad) for bad in (MISSING, None, "sum", {}, [], {"type": "SUM"}, {"type": "avg"}, {"type": None})],
    ("aggregation", {"type": "sum", "colour": "red"}),
]


@pytest.fixture(scope="module")
def kept(untouched):
    return untouched.add_type(name="Kept")


def everything(account):
    return ok(account.get("/meter-types", limit=100))["meterTypes"]


def member_of(field):
    return field.partition("[")[0].partition(".")[0]


@pytest.mark.parametrize(("field", "value"), CASES + CREATE_ONLY)
def test_a_bad_member_refuses_a_creation(untouched, kept, field, value):
    body = make_type(**{member_of(field): value})
    assert_names(refused(untouched.post("/meter-types", body)), field)
    assert everything(untouched) == [kept]


@pytest.mark.parametrize(("field", "value"), [*CASES, ("aggregation", {"type": "sum"})])
def test_a_bad_member_refuses_an_update(untouched, kept, field, value):
    body = {member_of(field): value, "unit": "changed"} | {member_of(field): value}
    assert_names(refused(untouched.patch(f"/meter-types/{kept['id']}", body)), field)
    assert everything(untouched) == [kept]


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e1001", "1e-1001", "1e999999999999999999999", "1" * 5000, "0x10", "1."]
)
def test_a_number_that_cannot_be_kept_is_refused(untouched, kept, number):
    response = untouched.client.patch(f"/meter-types/{kept['id']}", content=f'{{"capacity": {number}}}')
    refused(response)
    content = THRESHOLD_OF.replace("FIELDS", f'{{"a": [{number}]}}')
    refused(untouched.client.patch(f"/meter-types/{kept['id']}", content=content))
    assert everything(untouched) == [kept]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b'"name"',
        b"\xff",
        b'{"unit": "a", "unit": "b"}',
        b'{"name": "\\ud800"}',
        b'{"unit": "\\udfff"}',
        b'{"\\ud800": 1}',
        b"[" * 100_000,
        b'{"thresholds": [{"name": "t", "absoluteValue": 1, "customFields": {"a": "\\ud800"}}]}',
        b'{"thresholds": [{"name": "t", "absoluteValue": 1, "customFields": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}]}",
        b'{"thresholds": [{"name": "t", "absoluteValue": 1, "customFields": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}]}",
    ],
)
def test_a_body_that_is_no_proper_object_is_refused(untouched, kept, content):
    refused(untouched.client.post("/meter-types", content=content))
    refused(untouched.client.patch(f"/meter-types/{kept['id']}", content=content))
    assert everything(untouched) == [kept]


@pytest.mark.parametrize("field", ["category", "description", "externalRef", "name", "timezone", "unit"])
def test_a_lone_surrogate_is_refused_by_the_name_of_its_member(untouched, kept, field):
    content = f'{{"{field}": "a \\udfff"}}'
    assert_names(refused(untouched.client.patch(f"/meter-types/{kept['id']}", content=content)), field)


def test_an_update_without_members_is_refused(untouched, kept):
    refused(untouched.patch(f"/meter-types/{kept['id']}", {}))
    assert everything(untouched) == [kept]


def test_an_activity_in_the_past_is_refused(untouched, kept):
    assert_names(refused(untouched.post("/meter-types", make_type(activeFrom=ahead(minutes=-6)))), "activeFrom")
    assert_names(refused(untouched.post("/meter-types", make_type(activeTo=ahead(seconds=-1)))), "activeTo")


def test_an_activity_ends_after_it_begins(untouched, kept):
    backwards = make_type(activeFrom=ahead(days=2), activeTo=ahead(days=1))
    assert_names(refused(untouched.post("/meter-types", backwards)), "activeTo")
    same = make_type(activeFrom="2199-01-01T00:00:00Z", activeTo="2199-01-01T01:00:00+01:00")
    assert_names(refused(untouched.post("/meter-types", same)), "activeTo")
    assert everything(untouched) == [kept]


def test_a_message_names_every_field_at_fault(untouched):
    body = refused(untouched.post("/meter-types", make_type(name=5, unit="", capacity=-1)))
    assert {detail["path"] for detail in body["details"]} == {"name", "unit", "capacity"}


@pytest.mark.parametrize("wrong", ["x", "1", "645ed240-02b5-400c-9a3c", "645ed240-02b5-400c-9a3c-21857e8f2acg"])
def test_a_malformed_id_is_refused_by_name(untouched, wrong):
    assert_names(refused(untouched.get(f"/meter-types/{wrong}")), "id")
    assert_names(refused(untouched.patch(f"/meter-types/{wrong}", {"unit": "u"})), "id")
    assert_names(refused(untouched.delete(f"/meter-types/{wrong}")), "id")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("limit", bad) for bad in ("0", "101", "-1", "x", "", "1.0", "+5", "1_0", "٣", "1e1", "9" * 30)],
        *[("skip", bad) for bad in ("-1", "x", "", "0.5", "9" * 30)],
        *[("sortOrder", bad) for bad in ("asc", "", "UP")],
        *[("sortBy", bad) for bad in ("", "colour", "created_at", "thresholds", "resetSchedule", "name;--")],
        *[("name", bad) for bad in ("a\x00b", "x" * 1001)],
    ],
)
def test_a_bad_query_is_refused_by_name(untouched, field, value):
    assert_names(refused(untouched.get("/meter-types", **{field: value})), field)
