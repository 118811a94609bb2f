"""`meterhouse verify`: recomputes the chains of exported periods, with nothing but the export."""

import json
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from meterhouse.rules.numbers import parse_decimal
from meterhouse.rules.verification import Chain, Period, verify, why_no_period

STANDARD_INPUT = "-"

_MAX_DIGITS = 10_000  # a meter's values have at most 2000


class NoExportError(Exception):
    """One line that names the file and why it cannot be read as an export."""


def verify_files(names: Sequence[str]) -> tuple[list[str], bool]:
    """What to print, and whether all is right. Raises NoExportError."""
    chains = verify([period for name in names for period in _read(name)])
    lines = [line for chain in chains for line in _told(chain)]
    right = not any(chain.faults for chain in chains)
    total = sum(len(chain.periods) for chain in chains)
    lines.append(f"{total} periods of {len(chains)} meters: {'all right' if right else 'NOT ALL RIGHT'}")
    return lines, right


def _told(chain: Chain) -> Iterator[str]:
    right = [period for period in chain.periods if not chain.is_faulty(period)]
    span = f", {right[0]['periodStart']} to {right[-1]['periodEnd']}" if right else ""
    of = "" if len(right) == len(chain.periods) else f" of {len(chain.periods)}"
    yield f"meter {chain.meter_id}: {len(right)}{of} periods right{span}"
    for kind, found in (("note", chain.notes), ("WRONG", chain.faults)):
        for period, text in found:
            yield f"  {kind}: {period['periodStart']} to {period['periodEnd']}: {text}"


def _read(name: str) -> Iterator[Period]:
    """Of a file with one JSON value after the other: pages of the periods endpoint, lists of periods, or periods."""
    try:
        content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise NoExportError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise NoExportError(f"{name}: is no export: it is not UTF-8 at byte {error.start}") from None
    number = 0
    for value in _values(name, text):
        for period in _periods(value):
            number += 1
            if (reason := why_no_period(period)) is not None:
                raise NoExportError(f"{name}: is no export of periods: item {number}: {reason}")
            yield period


def _values(name: str, text: str) -> Iterator[Any]:
    place = _after_blanks(text, 0)
    if place == len(text):
        raise NoExportError(f"{name}: is no export: it is empty")
    while place < len(text):
        try:
            value, place = _decoder.raw_decode(text, place)
        except RecursionError:
            raise NoExportError(f"{name}: is no export: it is nested too deeply") from None
        except ValueError as error:
            raise NoExportError(f"{name}: is no export: {error}") from None
        yield value
        place = _after_blanks(text, place)


def _after_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _periods(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    page = value.get("periods") if isinstance(value, dict) else None
    return page if isinstance(page, list) else [value]


def _number(text: str) -> Decimal:
    """Exact, as it was sent."""
    number = parse_decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or abs(number.adjusted()) > _MAX_DIGITS or exponent < -_MAX_DIGITS:
        raise ValueError(f"the number {text[:40]} is out of range")
    return number


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member stands twice in one object")
    return members


_decoder = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_constant, object_pairs_hook=_object)
