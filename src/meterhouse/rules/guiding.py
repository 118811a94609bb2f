"""Which meters a usage record is for: the guiding rules of a Meter processor (reference: usage engine 2.2, 2.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from meterhouse.rules.instants import parse_instant

MAX_RULES = 10
MAX_DEPTH = 100
"""Of what a meter keeps of a record. Its statements are hashed, which deeper nesting would make impossible."""

SKEW = timedelta(seconds=1)
"""Scripts read the clock in milliseconds, a moment after the step has read it."""

_MAX_EXPONENT = 1000


class GuidingError(ValueError):
    """The rules are broken; the message names the rule."""


class UnusableRecordError(ValueError):
    """The record cannot be metered; the message is the reason for Data correction."""


@dataclass(frozen=True, slots=True)
class Condition:
    field: str
    value: Any

    def holds(self, payload: Mapping[str, Any]) -> bool:
        """Equal and of one type: a text is no number, true is no number."""
        if self.field not in payload:
            return False
        found = payload[self.field]
        return _kind(found) == _kind(self.value) and bool(found == self.value)


@dataclass(frozen=True, slots=True)
class Rule:
    """`conditions` None: every record. `group_by`: one breakdown each, by one or more fields."""

    conditions: tuple[Condition, ...] | None
    any_condition: bool
    category: str
    group_by: tuple[tuple[str, ...], ...]
    carry_first: tuple[str, ...]
    carry_last: tuple[str, ...]

    def holds(self, payload: Mapping[str, Any]) -> bool:
        if self.conditions is None:
            return True
        join = any if self.any_condition else all
        return join(condition.holds(payload) for condition in self.conditions)

    def require_shallow(self, payload: Mapping[str, Any]) -> None:
        """Raises UnusableRecordError where a field that would be kept is nested too deeply."""
        for field in (*self.carry_first, *self.carry_last, *(field for fields in self.group_by for field in fields)):
            if not _is_shallow(payload.get(field), MAX_DEPTH):
                raise UnusableRecordError(f"{field} is nested more than {MAX_DEPTH} deep")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a usable record says. `at` only proves that the meter was active then."""

    user_id: str
    value: Decimal
    at: datetime


def parse_rules(params: Mapping[str, Any]) -> tuple[Rule, ...]:
    rules = params.get("guidingRules")
    if not isinstance(rules, list) or not 1 <= len(rules) <= MAX_RULES:
        raise GuidingError(f"guidingRules: must be a list of 1 to {MAX_RULES} rules")
    try:
        return tuple(_rule(rule) for rule in rules)
    except (KeyError, TypeError, AttributeError) as error:
        raise GuidingError(f"guidingRules: cannot be read: {error!r}") from None


def _rule(rule: Mapping[str, Any]) -> Rule:
    everything = bool(rule.get("ignoreCondition")) or not rule.get("conditions")
    carries = [(one["field"], one["operation"]) for one in rule.get("otherOperations") or []]
    return Rule(
        conditions=None if everything else tuple(_condition(one) for one in rule["conditions"]),
        any_condition=str(rule.get("conditionRelation", "and")).lower() == "or",
        category=rule.get("matchCategory") or "DEFAULT",
        group_by=tuple(tuple(one["fields"]) for one in rule.get("groupBy") or [] if one.get("fields")),
        carry_first=tuple(field for field, operation in carries if operation == "carry-first"),
        carry_last=tuple(field for field, operation in carries if operation == "carry-last"),
    )


def _condition(one: Mapping[str, Any]) -> Condition:
    """Exports carry typed values; a `type` beside a text says what the text stands for."""
    value = one.get("value")
    kind = one.get("type")
    if isinstance(value, str) and kind == "number":
        value = Decimal(value)
    elif isinstance(value, str) and kind == "boolean":
        value = value.lower() == "true"
    return Condition(one["field"], value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, Decimal)) else type(value).__name__


def read_usage(payload: Mapping[str, Any], now: datetime) -> Usage:
    """Raises UnusableRecordError."""
    user_id = payload.get("userId")
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not user_id:
        raise UnusableRecordError("userId is missing" if user_id in (None, "") else "userId must be a text")
    return Usage(user_id, _value(payload.get("value")), _timestamp(payload.get("timestamp"), now))


def _value(value: Any) -> Decimal:
    if value is None or value == "":
        raise UnusableRecordError("value is missing")
    number = _number(value)
    if number is None:
        raise UnusableRecordError(f"value is not a number: {str(value)[:100]!r}")
    return number


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and -_MAX_EXPONENT < number.adjusted() < _MAX_EXPONENT else None


def _timestamp(value: Any, now: datetime) -> datetime:
    """ISO 8601, or Unix milliseconds as a number or its text; empty stands for now."""
    if value is None or value == "":
        return now
    milliseconds = _number(value)
    try:
        at = parse_instant(str(value)) if milliseconds is None else _from_milliseconds(milliseconds)
    except (ValueError, OverflowError):
        raise UnusableRecordError(
            f"timestamp is neither ISO 8601 nor Unix milliseconds: {str(value)[:100]!r}"
        ) from None
    if at > now + SKEW:
        raise UnusableRecordError(f"timestamp is in the future: {str(value)[:100]!r}")
    return at


def _from_milliseconds(milliseconds: Decimal) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))


def group_key(fields: Sequence[str], payload: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The breakdown's name, the group's key and its fields: `Genres`, `Genres:Comedy`, {"Genres": "Comedy"}."""
    values = {field: payload.get(field, "") for field in fields}
    key = ",".join(f"{field}:{_text(value)}" for field, value in values.items())
    return ", ".join(fields), key, values


def _is_shallow(value: Any, depth: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth >= 0 and all(_is_shallow(part, depth - 1) for part in parts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
