from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from meterhouse.rules.moments import BrokenFormatError, format_moment, parse_iso, parse_milliseconds, parse_moment

EVENING = datetime(2026, 3, 1, 21, 5, 9, 87_654, tzinfo=UTC)
IN_DELHI = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("YYYY YY", "2026 26"),
        ("MMMM MMM MM M Mo", "March Mar 03 3 3rd"),
        ("DD D Do DDDD DDD", "01 1 1st 060 60"),
        ("dddd ddd dd d", "Sunday Sun Su 0"),
        ("HH H hh h kk", "21 21 09 9 21"),
        ("A a", "PM pm"),
        ("mm m ss s", "05 5 09 9"),
        ("SSS SS S SSSSSS", "087 08 0 087654"),
        ("Z ZZ", "+00:00 +0000"),
        ("X x", "1772399109 1772399109087"),
        ("Q", "1"),
        ("YYYY-MM-DDTHH:mm:ss.SSS[Z]", "2026-03-01T21:05:09.087Z"),
        ("[at] h [o'clock]", "at 9 o'clock"),
        ("YYYYMMDD", "20260301"),
        ("", ""),
    ],
)
def test_moments_are_written_with_the_tokens_of_moment_js(pattern, text):
    assert format_moment(EVENING, pattern) == text


@pytest.mark.parametrize(
    ("day", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (22, "22nd")],
)
def test_days_have_ordinals(day, text):
    assert format_moment(datetime(2026, 1, day, tzinfo=UTC), "Do") == text


@pytest.mark.parametrize(("hour", "text"), [(0, "12 AM"), (1, "1 AM"), (12, "12 PM"), (13, "1 PM")])
def test_noon_and_midnight_are_twelve(hour, text):
    moment = datetime(2026, 1, 1, hour, tzinfo=UTC)
    assert format_moment(moment, "h A") == text
    assert parse_moment(f"2026-01-01 {text}", "YYYY-MM-DD h A") == moment


@pytest.mark.parametrize(
    ("text", "pattern", "moment"),
    [
        ("2022-Jan-01", "YYYY-MMM-DD", datetime(2022, 1, 1, tzinfo=UTC)),
        ("1 march 22", "D MMMM YY", datetime(2022, 3, 1, tzinfo=UTC)),
        ("31/12/1999 23:59", "DD/MM/YYYY HH:mm", datetime(1999, 12, 31, 23, 59, tzinfo=UTC)),
        ("20260131T120000.5", "YYYYMMDDTHHmmss.S", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("Sat, Jan 31st 2026", "ddd, MMM Do YYYY", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-060", "YYYY-DDDD", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-01-31T24:00", "YYYY-MM-DDTHH:mm", datetime(2026, 2, 1, tzinfo=UTC)),
        ("1772399109.087", "X", EVENING.replace(microsecond=87_000)),
        ("1772399109087", "x", EVENING.replace(microsecond=87_000)),
        ("2026-01-01 +0530", "YYYY-MM-DD ZZ", datetime(2026, 1, 1, tzinfo=IN_DELHI)),
        ("2026-01-01Z", "YYYY-MM-DDZ", datetime(2026, 1, 1, tzinfo=UTC)),
        (" 2026-01-01 ", "YYYY-MM-DD", datetime(2026, 1, 1, tzinfo=UTC)),
        ("marchof2026", "MMMM[of]YYYY", datetime(2026, 3, 1, tzinfo=UTC)),
        ("Sunday1Mar2026", "ddddDMMMYYYY", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_moments_are_read_with_the_same_tokens(text, pattern, moment):
    assert parse_moment(text, pattern) == moment


def test_an_offset_that_is_read_is_kept():
    assert format_moment(parse_moment("2026-01-01T10:00+05:30", "YYYY-MM-DDTHH:mmZ"), "HH:mm Z") == "10:00 +05:30"


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("2026-02-30", "YYYY-MM-DD"),
        ("2026-13-01", "YYYY-MM-DD"),
        ("2026-Foo-01", "YYYY-MMM-DD"),
        ("26-01-01", "YYYY-MM-DD"),
        ("2026-01-01x", "YYYY-MM-DD"),
        ("2026 13 PM", "YYYY hh A"),
        ("12:00", "HH:mm"),
        ("99999999999999999", "x"),
        ("999999999999", "X"),
        ("2026-01-01 +99:00", "YYYY-MM-DD Z"),
        ("", "YYYY"),
    ],
)
def test_what_is_no_date_in_the_format_is_refused(text, pattern):
    with pytest.raises(ValueError):
        parse_moment(text, pattern)


@pytest.mark.parametrize("pattern", ["GGGG-[W]WW", "LLLL", "YYYY w"])
def test_a_token_without_meaning_here_is_a_broken_format(pattern):
    with pytest.raises(BrokenFormatError):
        format_moment(EVENING, pattern)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-02", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-03", datetime(2026, 2, 3, tzinfo=UTC)),
        ("2026-02-03T04:05", datetime(2026, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-02-03 04:05:06.789Z", datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)),
        ("2026-02-03T00:00:00.000-0500", datetime(2026, 2, 3, 5, tzinfo=UTC)),
        ("2026-02-03T00:00+05:30", datetime(2026, 2, 2, 18, 30, tzinfo=UTC)),
    ],
)
def test_iso_dates_are_read_whole_or_in_part(text, moment):
    assert parse_iso(text) == moment


@pytest.mark.parametrize("text", ["", "today", "2026-1-1", "2026-02-30", "2026-01-01T25:00", "0000-01-01"])
def test_what_is_no_iso_date_is_refused(text):
    with pytest.raises(ValueError):
        parse_iso(text)


def test_numbers_are_milliseconds_since_1970():
    assert parse_milliseconds(Decimal("1.5")) == datetime(1970, 1, 1, 0, 0, 0, 1500, tzinfo=UTC)
    with pytest.raises(ValueError):
        parse_milliseconds(Decimal("1e30"))


def test_a_format_of_many_tokens_that_could_share_digits_is_read_in_one_go():
    with pytest.raises(ValueError):
        parse_moment("1" * 45 + "x", "YYYY" + "DHms" * 10)
