"""transforms/date, Date: instants rewritten in another format, and moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from meterhouse.rules.calendar_units import UNITS, add, set_unit
from meterhouse.rules.moments import (
    BrokenFormatError,
    check_format,
    format_moment,
    parse_iso,
    parse_milliseconds,
    parse_moment,
)
from meterhouse.rules.records import MISSING, as_number, find, put, text_of
from meterhouse.streams.function import Node, Record, Step, StreamError

_MODES = ("set", "add", "subtract")
_MAX_VALUE = 10**9


@dataclass(frozen=True, slots=True)
class _Change:
    unit: str
    mode: str
    value: int

    def apply(self, moment: datetime) -> datetime:
        if self.mode == "set":
            return set_unit(moment, self.unit, self.value)
        return add(moment, self.unit, self.value if self.mode == "add" else -self.value)


@dataclass(frozen=True, slots=True)
class _Item:
    """`input_format` empty: ISO 8601, or a number of Unix milliseconds. `output_format` empty: UTC in ISO 8601."""

    field: str
    input_format: str
    output_format: str
    changes: tuple[_Change, ...]

    def rewrite(self, value: Any) -> str:
        """ValueError with a reason."""
        moment = self._read(value)
        for change in self.changes:
            moment = change.apply(moment)
        if not self.output_format:
            return format_moment(moment.astimezone(UTC), "YYYY-MM-DDTHH:mm:ss.SSS[Z]")
        return format_moment(moment, self.output_format)

    def _read(self, value: Any) -> datetime:
        if self.input_format:
            return parse_moment(text_of(value), self.input_format)
        number = None if isinstance(value, str) else as_number(value)
        return parse_iso(text_of(value)) if number is None else parse_milliseconds(number)


class Date:
    type: ClassVar[str] = "transforms/date"

    def __init__(self, node: Node) -> None:
        self._items = [_item(node, item) for item in node.params.get("items") or []]

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            payload = dict(record.payload)
            reason = self._rewrite(payload)
            if reason is None:
                step.emit(Record(payload, record.meta))
            else:
                step.reject(record, reason)

    def _rewrite(self, payload: dict[str, Any]) -> str | None:
        for item in self._items:
            value = find(payload, item.field)
            if value is MISSING or value is None:
                return f"{item.field} is missing"
            try:
                put(payload, item.field, item.rewrite(value))
            except (ValueError, OverflowError) as error:
                return f"{item.field}: {error}"
        return None

    async def flush(self, step: Step, *, final: bool) -> None: ...


def _item(node: Node, item: Any) -> _Item:
    if not isinstance(item, dict) or not isinstance(item.get("field"), str):
        raise StreamError(f"{node.name}: each of items is an object with a `field`")
    read, write = (str(item.get(name) or "") for name in ("inputFormat", "outputFormat"))
    operation = item.get("operation") if item.get("mode", "modify") == "modify" else None
    try:
        check_format(read)
        check_format(write)
        changes = [_change(unit, change) for unit, change in (operation or {}).items()]
    except (BrokenFormatError, _BrokenChangeError) as error:
        raise StreamError(f"{node.name}: {item['field']}: {error}") from None
    return _Item(item["field"], read, write, tuple(sorted(changes, key=lambda change: UNITS.index(change.unit))))


class _BrokenChangeError(ValueError):
    pass


def _change(unit: str, change: Any) -> _Change:
    name = unit.lower().removesuffix("s")
    if name not in UNITS:
        raise _BrokenChangeError(f"the unit {unit!r} is unknown: use one of {', '.join(UNITS)}")
    mode = change.get("mode") if isinstance(change, dict) else None
    value = as_number(change.get("value")) if isinstance(change, dict) else None
    if mode not in _MODES or value is None or value != value.to_integral_value() or abs(value) > _MAX_VALUE:
        raise _BrokenChangeError(f"{unit} needs a mode ({', '.join(_MODES)}) and a whole number as its value")
    return _Change(name, mode, int(value))
