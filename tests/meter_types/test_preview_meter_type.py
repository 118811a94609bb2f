"""The next resets of a schedule in a zone, with the days on which clocks change."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.tenants import make_tenant
from tests.tenants import refused as refused_anywhere
from tests.usage_engine import MISSING, assert_names, created, make_schedule, make_type, ok, refused

PREVIEW = "/meter-types/preview"


def make_preview(zone="Etc/UTC", after="2027-01-01T00:00:00Z", **changes):
    preview = {"resetSchedule": make_schedule(), "timezone": zone, "after": after} | changes
    return {name: value for name, value in preview.items() if value is not MISSING}


def preview(account, *args, **changes):
    answer = ok(account.post(PREVIEW, make_preview(*args, **changes)))
    assert answer.keys() == {"resets"}
    return answer["resets"]


def test_the_next_twelve_resets_are_told_from_now_on(account):
    before = datetime.now(UTC)
    resets = preview(account, after=MISSING)
    assert len(resets) == 12
    first = datetime.fromisoformat(resets[0]["at"])
    assert before < first <= before + timedelta(days=32)
    assert [reset["at"][8:] for reset in resets] == ["01T00:00:00.000Z"] * 12


def test_after_is_not_among_them(account):
    assert preview(account, count=2, after="2027-02-01T00:00:00Z") == [
        {"at": "2027-03-01T00:00:00.000Z", "local": "2027-03-01T00:00:00.000+00:00", "clockChange": None},
        {"at": "2027-04-01T00:00:00.000Z", "local": "2027-04-01T00:00:00.000+00:00", "clockChange": None},
    ]
    assert preview(account, count=1, after="2027-02-01T01:59:59.999+02:00")[0]["at"] == "2027-02-01T00:00:00.000Z"


def test_the_wall_clock_stands_beside_the_instant(account):
    [reset] = preview(account, "Asia/Kathmandu", count=1, resetSchedule=make_schedule(day="L", minute="30"))
    assert (reset["at"], reset["local"]) == ("2027-01-30T18:45:00.000Z", "2027-01-31T00:30:00.000+05:45")


def test_skipped_and_repeated_times_of_stockholm_are_marked(account):
    nightly = make_schedule(minute="30", hour="2", day="*")
    spring = preview(account, "Europe/Stockholm", "2027-03-26T12:00:00Z", resetSchedule=nightly, count=3)
    assert [reset["local"] for reset in spring] == [
        "2027-03-27T02:30:00.000+01:00",
        "2027-03-28T03:00:00.000+02:00",
        "2027-03-29T02:30:00.000+02:00",
    ]
    change = {"at": "2027-03-28T01:00:00.000Z", "from": "+01:00", "to": "+02:00"}
    assert [reset["clockChange"] for reset in spring] == [None, change, None]
    autumn = preview(account, "Europe/Stockholm", "2027-10-30T12:00:00Z", resetSchedule=nightly, count=2)
    assert [reset["local"] for reset in autumn] == ["2027-10-31T02:30:00.000+02:00", "2027-11-01T02:30:00.000+01:00"]
    change = {"at": "2027-10-31T01:00:00.000Z", "from": "+02:00", "to": "+01:00"}
    assert [reset["clockChange"] for reset in autumn] == [change, None]


def test_a_midnight_that_is_skipped_is_of_the_day_that_begins_late(account):
    daily = make_schedule(day="*")
    resets = preview(account, "America/Havana", "2018-03-10T00:00:00Z", resetSchedule=daily, count=3)
    assert [reset["local"] for reset in resets] == [
        "2018-03-10T00:00:00.000-05:00",
        "2018-03-11T01:00:00.000-04:00",
        "2018-03-12T00:00:00.000-04:00",
    ]
    change = {"at": "2018-03-11T05:00:00.000Z", "from": "-05:00", "to": "-04:00"}
    assert [reset["clockChange"] for reset in resets] == [None, change, None]


def test_a_change_of_half_an_hour_is_one_too(account):
    weekly = make_schedule(day="*", weekday="0", hour="12")
    resets = preview(account, "Australia/Lord_Howe", "2027-03-30T00:00:00Z", resetSchedule=weekly, count=2)
    change = {"at": "2027-04-03T15:00:00.000Z", "from": "+11:00", "to": "+10:30"}
    assert [reset["clockChange"] for reset in resets] == [change, None]


def test_a_hundred_leap_days_are_found(account):
    resets = preview(account, count=100, resetSchedule=make_schedule(day="29", month="2"))
    assert len({reset["at"] for reset in resets}) == 100
    assert [reset["at"][:4] for reset in resets[17:20]] == ["2096", "2104", "2108"]


def test_a_meter_made_now_ends_its_period_at_the_first(account):
    """The preview is of the code that resets."""
    for zone, schedule in [
        ("America/Havana", make_schedule(day="*")),
        ("Asia/Kathmandu", make_schedule(minute="*/15", hour="*", day="L,1", weekday="1-5")),
        ("Europe/Stockholm", make_schedule(day="29", month="2")),
    ]:
        first = preview(account, zone, MISSING, resetSchedule=schedule, count=1)[0]["at"]
        meter = account.add_meter(
            created(account.post("/meter-types", make_type(timezone=zone, resetSchedule=schedule)))
        )
        again = preview(account, zone, MISSING, resetSchedule=schedule, count=1)[0]["at"]
        assert first <= meter["periodEnd"] <= again


def test_nothing_is_created(untouched):
    preview(untouched)
    assert ok(untouched.get("/meter-types"))["meterTypes"] == []


BAD = [
    *[("timezone", bad) for bad in (MISSING, None, "", "Mars/Olympus", "../etc/passwd", 5, "europe/stockholm")],
    *[("resetSchedule", bad) for bad in (MISSING, None, "0 0 1 * *", [], {})],
    ("resetSchedule", make_schedule(day="30", month="2")),
    ("resetSchedule", make_schedule(second="0")),
    *[
        ("resetSchedule." + name, make_schedule(**{name: "99"}))
        for name in ("minute", "hour", "day", "month", "weekday")
    ],
    ("resetSchedule.month", make_schedule(month="L")),
    *[("count", bad) for bad in (0, 101, -1, "5", 1.5, True, None)],
    *[("after", bad) for bad in (None, "", "tomorrow", 5, "2027-01-01", "2027-01-01T00:00:00", "2027-02-30T00:00:00Z")],
    *[("after", bad) for bad in ("0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z")],
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_member_is_refused_by_name(account, field, value):
    assert_names(refused(account.post(PREVIEW, make_preview(**{field.partition(".")[0]: value}))), field)


@pytest.mark.parametrize("member", ["name", "unit", "reset_schedule", "limit"])
def test_an_unknown_member_is_refused_by_name(account, member):
    assert_names(refused(account.post(PREVIEW, make_preview(**{member: "x"}))), member)


def test_it_needs_the_scope_of_reading_types(installation, api):
    path = f"/usage-metering/v1{PREVIEW}"
    with make_tenant(installation, api.base_url, "create:meter_types").client() as client:
        refused_anywhere(client.post(path, json=make_preview()), 401)
    with make_tenant(installation, api.base_url, "read:meter_types").client() as client:
        ok(client.post(path, json=make_preview()))
