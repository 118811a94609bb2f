"""Instants read and written with the format tokens of moment.js, English names (reference: streams, transforms/date).

An offset that is read is kept; a time without one is in UTC. What is finer than a microsecond is cut.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache

ISO_MILLISECONDS = "YYYY-MM-DDTHH:mm:ss.SSSZ"

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Longest first. `[…]` is literal, and so is every character that is no letter.
_TOKENS = re.compile(
    r"\[([^\]]*)\]|(YYYY|YY|Y|Qo?|MMMM|MMM|Mo|MM|M|DDDD|DDD|Do|DD|D|dddd|ddd|dd|d|HH|H|hh|h|kk|k|A|a|mm|m|ss|s"
    r"|S{1,9}|ZZ|Z|X|x)|(.)",
    re.DOTALL,
)
# Letters that mean something to moment.js but have no meaning here: refused, lest they are taken for themselves.
_UNSUPPORTED = frozenset("wWeEgGNLly")


class BrokenFormatError(ValueError):
    """The format itself is wrong."""


@dataclass(slots=True)
class _Parts:
    """What was read so far."""

    year: int | None = None
    month: int = 1
    day: int = 1
    hour: int = 0
    minute: int = 0
    second: int = 0
    microsecond: int = 0
    day_of_year: int | None = None
    afternoon: bool | None = None
    offset: timedelta = timedelta()
    instant: datetime | None = field(default=None)

    def moment(self) -> datetime:
        if self.instant is not None:
            return self.instant
        if self.year is None:
            raise ValueError("has no year")
        hour = self.hour if self.afternoon is None else self.hour % 12 + 12 * self.afternoon
        whole_days, hour = divmod(hour, 24) if (hour, self.minute, self.second) == (24, 0, 0) else (0, hour)
        zone = timezone(self.offset)
        month, day = (self.month, self.day) if self.day_of_year is None else (1, 1)
        start = datetime(self.year, month, day, hour, self.minute, self.second, self.microsecond, zone)
        return start + timedelta(days=whole_days + (self.day_of_year or 1) - 1)


def parse_moment(text: str, pattern: str) -> datetime:
    """Aware. ValueError with a reason; BrokenFormatError for the pattern. Blanks around the text are left out."""
    expression, tokens = _reader(pattern)
    match = expression.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:50]!r} is not in the format {pattern}")
    parts = _Parts()
    try:
        for token, read in zip(tokens, match.groups(), strict=True):
            _READ[token](parts, read)
        return parts.moment()
    except (ValueError, OverflowError, InvalidOperation) as error:
        raise ValueError(f"{text[:50]!r} is no existing date and time: {error}") from None


@lru_cache(maxsize=1024)
def _reader(pattern: str) -> tuple[re.Pattern[str], tuple[str, ...]]:
    expression, tokens = "", []
    for token, literal in _split(pattern):
        if token is None:
            expression += re.escape(literal)
            continue
        kind = "S" if token.startswith("S") else token
        # As moment.js reads: each token takes what it can and gives nothing back.
        expression += f"((?>{_SHAPES[kind]}))"
        tokens.append(kind)
    return re.compile(expression, re.IGNORECASE | re.ASCII), tuple(tokens)


@lru_cache(maxsize=1024)
def _split(pattern: str) -> tuple[tuple[str | None, str], ...]:
    """(token, "") or (None, literal text)."""
    found: list[tuple[str | None, str]] = []
    for match in _TOKENS.finditer(pattern):
        bracketed, token, other = match.groups()
        if other is not None and other in _UNSUPPORTED:
            raise BrokenFormatError(f"the date format {pattern!r} has the unknown token {other}")
        found.append((token, "") if token else (None, bracketed if bracketed is not None else other))
    return tuple(found)


_DIGITS_2 = r"\d{1,2}"
_MONTH_NAME = "|".join([*_MONTHS, *(name[:3] for name in _MONTHS)])
_WEEKDAY_NAME = "|".join(name[:length] for length in (9, 3, 2) for name in _WEEKDAYS)
_SHAPES: Mapping[str, str] = {
    "YYYY": r"\d{4}", "YY": r"\d{2}", "Y": r"\d{1,4}", "Q": "[1-4]", "Qo": r"[1-4](?:st|nd|rd|th)",
    "MMMM": _MONTH_NAME, "MMM": _MONTH_NAME, "MM": _DIGITS_2, "M": _DIGITS_2, "Mo": r"\d{1,2}(?:st|nd|rd|th)",
    "DDDD": r"\d{1,3}", "DDD": r"\d{1,3}", "DD": _DIGITS_2, "D": _DIGITS_2, "Do": r"\d{1,2}(?:st|nd|rd|th)",
    "dddd": _WEEKDAY_NAME, "ddd": _WEEKDAY_NAME, "dd": _WEEKDAY_NAME, "d": "[0-6]",
    "HH": _DIGITS_2, "H": _DIGITS_2, "hh": _DIGITS_2, "h": _DIGITS_2, "kk": _DIGITS_2, "k": _DIGITS_2,
    "A": r"[ap]\.?m?\.?", "a": r"[ap]\.?m?\.?", "mm": _DIGITS_2, "m": _DIGITS_2, "ss": _DIGITS_2, "s": _DIGITS_2,
    "S": r"\d{1,18}", "Z": r"z|[+-]\d{2}:?\d{2}", "ZZ": r"z|[+-]\d{2}:?\d{2}",
    "X": r"[+-]?\d{1,12}(?:\.\d{1,9})?", "x": r"[+-]?\d{1,15}",
}  # fmt: skip


def _whole(name: str, *, least: int = 0, most: int | None = None) -> Callable[[_Parts, str], None]:
    def read(parts: _Parts, text: str) -> None:
        number = int("".join(filter(str.isdigit, text)))
        if number < least or (most is not None and number > most):
            raise ValueError(f"{name} {number}")
        setattr(parts, name, number)

    return read


def _read_short_year(parts: _Parts, text: str) -> None:
    parts.year = int(text) + (2000 if int(text) <= 68 else 1900)


def _read_quarter(parts: _Parts, text: str) -> None:
    parts.month = 3 * int(text[0]) - 2


def _read_month_name(parts: _Parts, text: str) -> None:
    known = [name.lower() for name in _MONTHS]
    names = known if text.lower() in known else [name[:3] for name in known]
    parts.month = names.index(text.lower()) + 1


def _read_weekday(_: _Parts, __: str) -> None:
    """Says nothing that the date does not say."""


def _read_half(parts: _Parts, text: str) -> None:
    parts.afternoon = text.lower().startswith("p")


def _read_fraction(parts: _Parts, text: str) -> None:
    parts.microsecond = int(text[:6].ljust(6, "0"))


def _read_offset(parts: _Parts, text: str) -> None:
    parts.offset = _offset(text)


def _read_seconds(parts: _Parts, text: str) -> None:
    parts.instant = _EPOCH + int(Decimal(text) * 1_000_000) * _MICROSECOND


def _read_milliseconds(parts: _Parts, text: str) -> None:
    parts.instant = _EPOCH + timedelta(milliseconds=int(text))


def _offset(text: str) -> timedelta:
    if text in "Zz":
        return timedelta()
    hours, minutes = int(text[1:3]), int(text[-2:] if len(text) > 3 else 0)
    if hours > 23 or minutes > 59:
        raise ValueError(f"offset {text}")
    return (-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes)


_hour, _half_day_hour = _whole("hour", most=24), _whole("hour", least=1, most=12)
_month, _day, _day_of_year = _whole("month"), _whole("day"), _whole("day_of_year", least=1, most=366)
_minute, _second, _year = _whole("minute", most=59), _whole("second", most=59), _whole("year")

_READ: Mapping[str, Callable[[_Parts, str], None]] = {
    "YYYY": _year, "YY": _read_short_year, "Y": _year, "Q": _read_quarter, "Qo": _read_quarter,
    "MMMM": _read_month_name, "MMM": _read_month_name, "MM": _month, "M": _month, "Mo": _month,
    "DDDD": _day_of_year, "DDD": _day_of_year, "DD": _day, "D": _day, "Do": _day,
    "dddd": _read_weekday, "ddd": _read_weekday, "dd": _read_weekday, "d": _read_weekday,
    "HH": _hour, "H": _hour, "hh": _half_day_hour, "h": _half_day_hour, "kk": _hour, "k": _hour,
    "A": _read_half, "a": _read_half, "mm": _minute, "m": _minute, "ss": _second, "s": _second,
    "S": _read_fraction, "Z": _read_offset, "ZZ": _read_offset, "X": _read_seconds, "x": _read_milliseconds,
}  # fmt: skip

_ISO = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?"
    r"(?:[T ](\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d{1,18}))?)?)?)? ?(Z|[+-]\d{2}(?::?\d{2})?)?",
    re.IGNORECASE | re.ASCII,
)


def parse_iso(text: str) -> datetime:
    """ISO 8601: a month, a day or a time, with or without an offset. Aware. ValueError with a reason."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:50]!r} is no date in ISO 8601")
    parts = _Parts()
    try:
        for token, read in zip(("YYYY", "MM", "DD", "HH", "mm", "ss", "S", "Z"), match.groups(), strict=True):
            if read is not None:
                _READ[token](parts, read)
        return parts.moment()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:50]!r} is no existing date and time: {error}") from None


def parse_milliseconds(milliseconds: Decimal) -> datetime:
    """Since 1970. ValueError where no calendar reaches."""
    try:
        return _EPOCH + int(milliseconds * 1_000) * _MICROSECOND
    except OverflowError:
        raise ValueError(f"{milliseconds} milliseconds are no existing date and time") from None


def format_moment(moment: datetime, pattern: str) -> str:
    """`moment` is aware. BrokenFormatError for the pattern."""
    return "".join(literal if token is None else _write(moment, token) for token, literal in _split(pattern))


def check_format(pattern: str) -> None:
    """BrokenFormatError."""
    _split(pattern)


def _write(moment: datetime, token: str) -> str:
    if token.startswith("S"):
        return f"{moment.microsecond:06}".ljust(9, "0")[: len(token)]
    return _WRITE[token](moment)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _written_offset(moment: datetime, colon: str) -> str:
    minutes = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"


def _quarter(moment: datetime) -> int:
    return (moment.month + 2) // 3


_WRITE: Mapping[str, Callable[[datetime], str]] = {
    "YYYY": lambda m: f"{m.year:04}",
    "YY": lambda m: f"{m.year % 100:02}",
    "Y": lambda m: str(m.year),
    "Q": lambda m: str(_quarter(m)),
    "Qo": lambda m: _ordinal(_quarter(m)),
    "MMMM": lambda m: _MONTHS[m.month - 1],
    "MMM": lambda m: _MONTHS[m.month - 1][:3],
    "MM": lambda m: f"{m.month:02}",
    "M": lambda m: str(m.month),
    "Mo": lambda m: _ordinal(m.month),
    "DDDD": lambda m: f"{m.timetuple().tm_yday:03}",
    "DDD": lambda m: str(m.timetuple().tm_yday),
    "DD": lambda m: f"{m.day:02}",
    "D": lambda m: str(m.day),
    "Do": lambda m: _ordinal(m.day),
    "dddd": lambda m: _WEEKDAYS[m.weekday()],
    "ddd": lambda m: _WEEKDAYS[m.weekday()][:3],
    "dd": lambda m: _WEEKDAYS[m.weekday()][:2],
    "d": lambda m: str(m.isoweekday() % 7),
    "HH": lambda m: f"{m.hour:02}",
    "H": lambda m: str(m.hour),
    "hh": lambda m: f"{(m.hour + 11) % 12 + 1:02}",
    "h": lambda m: str((m.hour + 11) % 12 + 1),
    "kk": lambda m: f"{m.hour or 24:02}",
    "k": lambda m: str(m.hour or 24),
    "A": lambda m: "AM" if m.hour < 12 else "PM",
    "a": lambda m: "am" if m.hour < 12 else "pm",
    "mm": lambda m: f"{m.minute:02}",
    "m": lambda m: str(m.minute),
    "ss": lambda m: f"{m.second:02}",
    "s": lambda m: str(m.second),
    "Z": lambda m: _written_offset(m, ":"),
    "ZZ": lambda m: _written_offset(m, ""),
    "X": lambda m: str((m - _EPOCH) // timedelta(seconds=1)),
    "x": lambda m: str((m - _EPOCH) // timedelta(milliseconds=1)),
}
