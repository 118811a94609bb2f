"""Instants in RFC 3339, read strictly and kept to the microsecond."""

import re
from datetime import UTC, datetime, timedelta, timezone

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,18}))?([Zz]|[+\- ]\d{2}:\d{2})", re.ASCII
)


def parse_instant(text: str) -> datetime:
    """An aware UTC datetime. ValueError with a reason a person can use.

    Digits beyond microseconds are cut. A blank before the offset stands for the plus that a query string loses.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("must be a date-time in RFC 3339 with a zone, such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    microsecond = int((match[7] or "")[:6].ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond, _zone(match[8]))
        return local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not an existing date and time: {error}") from None


def _zone(text: str) -> timezone:
    if text in "Zz":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError("the offset is out of range")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def format_instant(instant: datetime) -> str:
    """RFC 3339 with `Z` for UTC and only the fraction there is: 2026-01-31T12:00:00Z."""
    text = instant.isoformat()
    if "." in text:
        head, _, tail = text.partition(".")
        text = f"{head}.{tail[:6].rstrip('0')}{tail[6:]}"
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def format_milliseconds(instant: datetime) -> str:
    """As the Usage Engine prints instants: UTC, always three digits and `Z`. What is finer is cut."""
    utc = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"
