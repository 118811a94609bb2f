"""transforms/validate, Validate: records that fit a JSON Schema go on."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar
from uuid import UUID

from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FormatChecker,
    SchemaError,
    ValidationError,
    validators,
)
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from meterhouse.rules.instants import parse_instant
from meterhouse.rules.records import EXACT, as_number
from meterhouse.streams.function import Node, Record, Step, StreamError
from meterhouse.streams.nodes import outputs

_MAX_REASONS = 5
_MAX_REASON_LENGTH = 200
_DECIMAL = re.compile(r"Decimal\('([^']*)'\)")
_DRAFTS: dict[str, Any] = {
    str(draft.META_SCHEMA.get("$id") or draft.META_SCHEMA["id"]).rstrip("#"): draft
    for draft in (Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator)
}


class Validate:
    type: ClassVar[str] = "transforms/validate"

    def __init__(self, node: Node) -> None:
        self._name = node.name
        self._validator = _validator(node)
        named = outputs(node.params)
        self._valid, self._invalid = named.get("valid"), named.get("invalid")

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        for record in records:
            reason = self._reason(record.payload)
            if reason is None:
                step.emit(record, self._valid)
            elif self._invalid is not None:
                step.emit(record, self._invalid)
            else:
                step.reject(record, reason)

    def _reason(self, payload: dict[str, Any]) -> str | None:
        try:
            errors = sorted(self._validator.iter_errors(payload), key=lambda error: error.json_path)
        except Unresolvable as error:
            raise StreamError(f"{self._name}: the schema refers to what it does not hold: {error}") from None
        except RecursionError:
            return "the record is nested too deeply to be validated"
        return "; ".join(_said(error) for error in errors[:_MAX_REASONS]) or None

    async def flush(self, step: Step, *, final: bool) -> None: ...


def _validator(node: Node) -> Validator:
    """Draft 7 where the schema does not say. Nothing is ever fetched: references stay inside the schema."""
    schema = node.params.get("schema")
    if not isinstance(schema, (dict, bool)):
        raise StreamError(f"{node.name}: schema must be a JSON Schema")
    wanted = str(schema.get("$schema") or "").rstrip("#") if isinstance(schema, dict) else ""
    draft = _DRAFTS.get(wanted) if wanted else Draft7Validator
    if draft is None:
        raise StreamError(f"{node.name}: the schema is written in an unknown dialect: {wanted[:100]}")
    try:
        draft.check_schema(schema, format_checker=FormatChecker(formats=()))
        translated = _translated(schema)
    except (SchemaError, re.error) as error:
        reason = error.message if isinstance(error, SchemaError) else f"a pattern cannot be read: {error}"
        raise StreamError(f"{node.name}: the schema is broken: {reason[:_MAX_REASON_LENGTH]}") from None
    types = draft.TYPE_CHECKER.redefine("integer", _is_integer)
    keywords = {"multipleOf": _multiple_of, "pattern": _matches}
    exact: Any = validators.extend(draft, keywords, type_checker=types)  # type: ignore[no-untyped-call]
    checked: Validator = exact(translated, registry=Registry(), format_checker=_formats)
    return checked


def _is_integer(_: Any, value: Any) -> bool:
    """1.0 is one, as the specification has it."""
    number = None if isinstance(value, str) else as_number(value)
    return number is not None and number == number.to_integral_value()


def _multiple_of(_: Validator, divisor: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    number, by = (None if isinstance(one, str) else as_number(one) for one in (value, divisor))
    if number is not None and by is not None and EXACT.remainder(number, by):
        yield ValidationError(f"{value} is not a multiple of {divisor}")


def _matches(_: Validator, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _pattern(pattern).search(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _translated(schema: Any, *, is_schema: bool = True) -> Any:
    """With exact numbers, and names of patternProperties as Python reads them. Raises re.error for any pattern."""
    if isinstance(schema, list):
        return [_translated(item) for item in schema]
    if not isinstance(schema, dict):
        return _exact(schema)
    translated = {}
    for name, value in schema.items():
        if is_schema and name in ("enum", "const", "default", "examples"):
            translated[name] = value
        elif is_schema and name == "pattern" and isinstance(value, str):
            _pattern(value)
            translated[name] = value
        elif is_schema and name == "patternProperties" and isinstance(value, dict):
            translated[name] = {_pattern(pattern).pattern: _translated(inner) for pattern, inner in value.items()}
        else:
            names_schemas = is_schema and name in ("properties", "definitions", "$defs", "dependentSchemas")
            translated[name] = _translated(value, is_schema=not names_schemas)
    return translated


def _exact(value: Any) -> Any:
    return Decimal(repr(value)) if isinstance(value, float) else value


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    """Of JavaScript: names of groups are written differently, `$` is the very end, `\\d` and `\\w` are ASCII."""
    named = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)
    ended = re.sub(r"(\\.|\[(?:\\.|[^\]\\])*\])|\$", lambda match: match[1] or r"\Z", named, flags=re.DOTALL)
    return re.compile(f"(?a:{ended})")


def _said(error: ValidationError) -> str:
    path = error.json_path.removeprefix("$").removeprefix(".")
    message = _DECIMAL.sub(r"\1", error.message)
    return f"{path}: {message}"[:_MAX_REASON_LENGTH] if path else message[:_MAX_REASON_LENGTH]


_formats = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "regex"))


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_instant(value))


@_formats.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value.lower()
