"""JSON Schemas of users: with exact numbers, within limits, and nothing is ever fetched.

Every keyword looks at the clock: references make small schemas that take for ever.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from time import thread_time
from typing import Any, Protocol
from uuid import UUID

import attrs
from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
    FormatChecker,
    ValidationError,
    validators,
)
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing import Registry

from meterhouse.rules.instants import parse_instant
from meterhouse.rules.records import EXACT, as_number, canonical_json
from meterhouse.wire import decode_json

READ_SECONDS = 2
_MAX_REASON_LENGTH = 200
_DECIMAL = re.compile(r"Decimal\('([^']*)'\)")


class BrokenSchemaError(ValueError):
    """The message says what is wrong with it."""


class TooLongError(Exception):
    """The time is up."""


class Finds(Protocol):
    def find(self, pattern: str, text: str) -> bool:
        """Whether the text matches the pattern, or a guess."""


@dataclass(frozen=True, slots=True)
class _Check:
    patterns: Finds
    ends_at: float


_check: ContextVar[_Check] = ContextVar("check")


@contextmanager
def checking(patterns: Finds, seconds: float) -> Iterator[None]:
    """Inside, in this thread, schemas can be applied: for so many seconds of its processor time."""
    token = _check.set(_Check(patterns, thread_time() + seconds))
    try:
        yield
    finally:
        _check.reset(token)


@dataclass(frozen=True, slots=True)
class Schema:
    validator: Validator
    patterns: tuple[str, ...]
    """All that stand in it."""


@lru_cache(maxsize=64)
def read_schema(text: str) -> Schema:
    """JSON, of draft 7 where it does not say. Raises BrokenSchemaError."""
    schema = decode_json(text.encode())
    if "unevaluatedProperties" in text and ("patternProperties" in text or "dependentSchemas" in text):
        # The library looks at these two behind our back: without our patterns and without a look at the clock.
        raise BrokenSchemaError("has unevaluatedProperties beside patternProperties or dependentSchemas")
    wanted = str(schema.get("$schema") or "").rstrip("#") if isinstance(schema, dict) else ""
    draft = _DRAFTS.get(wanted or _DEFAULT)
    if draft is None:
        raise BrokenSchemaError(f"is written in an unknown dialect: {wanted[:100]}")
    try:
        with checking(_Trusted(), READ_SECONDS):
            error = best_match(draft(draft.META_SCHEMA, registry=REGISTRY).iter_errors(schema))
            patterns = tuple(dict.fromkeys(_patterns(schema)))
    except TooLongError:
        raise BrokenSchemaError("is too complex to be read") from None
    except RecursionError:
        raise BrokenSchemaError("is nested too deeply") from None
    if error is not None:
        raise BrokenSchemaError(f"is broken: {error.message[:_MAX_REASON_LENGTH]}")
    return Schema(draft(schema, registry=Registry(), format_checker=_formats), patterns)


class _Trusted:
    """The patterns of the dialects themselves."""

    def find(self, pattern: str, text: str) -> bool:
        return re.search(pattern, text) is not None


def _patterns(schema: Any, *, is_schema: bool = True) -> Iterator[str]:
    """A name is a keyword only where a schema is expected: `properties` may name one that is called pattern."""
    if isinstance(schema, list):
        for item in schema:
            yield from _patterns(item)
    if not isinstance(schema, dict):
        return
    for name, value in schema.items():
        if is_schema and name in ("enum", "const", "default", "examples"):
            continue
        if is_schema and name == "pattern" and isinstance(value, str):
            yield value
        if is_schema and name == "patternProperties" and isinstance(value, dict):
            yield from value
        yield from _patterns(value, is_schema=not (is_schema and name in _NAMES_SCHEMAS))


_NAMES_SCHEMAS = frozenset({"properties", "patternProperties", "definitions", "$defs", "dependentSchemas"})


# --- keywords -------------------------------------------------------------------------------------------------------

Keyword = Callable[[Validator, Any, Any, Mapping[str, Any]], Any]


def _timed(keyword: Keyword) -> Keyword:
    def timed(validator: Validator, value: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
        if thread_time() > _check.get().ends_at:
            raise TooLongError
        return keyword(validator, value, instance, schema)

    return timed


def _multiple_of(_: Validator, divisor: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    number, by = (None if isinstance(one, str) else as_number(one) for one in (value, divisor))
    if number is not None and by is not None and EXACT.remainder(number, by):
        yield ValidationError(f"{value} is not a multiple of {divisor}")


def _pattern(_: Validator, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _check.get().patterns.find(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, given: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    for pattern, inner in given.items():
        for name, item in value.items():
            if _check.get().patterns.find(pattern, name):
                yield from validator.descend(item, inner, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, given: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    find = _check.get().patterns.find
    found = {name: [find(pattern, name) for pattern in patterns] for name in value if name not in named}
    extra = [name for name, finds in found.items() if not any(finds)]
    if isinstance(given, dict):
        for name in extra:
            yield from validator.descend(value[name], given, path=name)
    elif not given and extra:
        yield ValidationError(f"additional properties are not allowed: {', '.join(extra)[:_MAX_REASON_LENGTH]}")


def _unique_items(_: Validator, given: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    """The library compares everything with everything."""
    if given and isinstance(value, list) and len({canonical_json(item) for item in value}) < len(value):
        yield ValidationError("has non-unique elements")


def _is_integer(_: Any, value: Any) -> bool:
    """1.0 is one, as the specification has it."""
    number = None if isinstance(value, str) else as_number(value)
    return number is not None and number == number.to_integral_value()


_OURS: Mapping[str, Any] = {
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _extended(draft: Any) -> Any:
    keywords = {name: _timed(keyword) for name, keyword in {**draft.VALIDATORS, **_OURS}.items()}
    types = draft.TYPE_CHECKER.redefine("integer", _is_integer)
    dialect: Any = validators.extend(draft, keywords, type_checker=types)  # type: ignore[no-untyped-call]
    # The library's own would go over to its own keywords wherever a part of the schema names a dialect.
    dialect.evolve = attrs.evolve
    return dialect


_DRAFTS: Mapping[str, Any] = {
    str(draft.META_SCHEMA.get("$id") or draft.META_SCHEMA["id"]).rstrip("#"): _extended(draft)
    for draft in (Draft4Validator, Draft6Validator, Draft7Validator, Draft201909Validator, Draft202012Validator)
}
_DEFAULT = str(Draft7Validator.META_SCHEMA["$id"]).rstrip("#")

# --- formats and messages -------------------------------------------------------------------------------------------

_formats = FormatChecker(formats=("date", "email", "ipv4", "ipv6"))


@_formats.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_instant(value))


@_formats.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value.lower()


def said(error: ValidationError) -> str:
    """For a person, shortened."""
    path = error.json_path.removeprefix("$").removeprefix(".")
    message = _DECIMAL.sub(r"\1", error.message)
    return f"{path}: {message}"[:_MAX_REASON_LENGTH] if path else message[:_MAX_REASON_LENGTH]
