"""transforms/validate, Validate: records that fit a JSON Schema go on.

The schema is the user's, and so are its regular expressions: they are tried in the sandbox (see streams/patterns), and
what is left is done beside the worker's loop, in limited time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import ClassVar

import msgspec
from referencing.exceptions import Unresolvable

from meterhouse.streams.function import Node, Record, Step, StreamError
from meterhouse.streams.nodes import outputs
from meterhouse.streams.patterns import Patterns
from meterhouse.streams.schemas import BrokenSchemaError, Schema, TooLongError, checking, read_schema, said

RECORD_SECONDS = 1
SLICE_SECONDS = 5
"""Of processor time. A record past the one is rejected; past the other it is the schema's fault: the run is aborted."""

_MAX_REASONS = 5

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(slots=True)
class _Verdicts:
    """By place of the record. Those that are waiting are looked at again when more is known of the patterns."""

    reasons: dict[int, str | None]
    waiting: list[int]
    seconds: float


class Validate:
    type: ClassVar[str] = "transforms/validate"

    def __init__(self, node: Node) -> None:
        self._name = node.name
        self._schema = _schema(node)
        named = outputs(node.params)
        self._valid, self._invalid = named.get("valid"), named.get("invalid")

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        reasons = await self._reasons(dict(enumerate(records)))
        for place, record in enumerate(records):
            reason = reasons[place]
            if reason is None:
                step.emit(record, self._valid)
            elif self._invalid is not None:
                step.emit(record, self._invalid)
            else:
                step.reject(record, reason)

    async def _reasons(self, records: Mapping[int, Record]) -> dict[int, str | None]:
        """By place. Again and again for those that ask for patterns of which nothing is known yet: their number falls,
        for what was learned stays known.
        """
        patterns = Patterns(self._name)
        await patterns.require_readable(self._schema.patterns)
        reasons: dict[int, str | None] = {}
        seconds = float(SLICE_SECONDS)
        while records:
            verdicts = await asyncio.to_thread(self._validate, records, patterns, seconds)
            seconds -= verdicts.seconds
            reasons |= verdicts.reasons
            records = {place: records[place] for place in verdicts.waiting}
            await patterns.learn()
        return reasons

    def _validate(self, records: Mapping[int, Record], patterns: Patterns, seconds: float) -> _Verdicts:
        began = thread_time()
        verdicts = _Verdicts({}, [], 0)
        for place, record in records.items():
            verdicts.seconds = thread_time() - began
            if verdicts.seconds > seconds:
                raise StreamError(
                    f"{self._name}: the records of one slice take more than {SLICE_SECONDS} s to be validated:"
                    " the schema is too complex"
                )
            patterns.missing = False
            with checking(patterns, RECORD_SECONDS):
                reason = self._reason(record)
            if patterns.missing:
                verdicts.waiting.append(place)
            else:
                verdicts.reasons[place] = reason
        return verdicts

    def _reason(self, record: Record) -> str | None:
        try:
            errors = sorted(self._schema.validator.iter_errors(record.payload), key=lambda error: error.json_path)
        except Unresolvable as error:
            raise StreamError(f"{self._name}: the schema refers to what it does not hold: {error}") from None
        except RecursionError:
            return "the record is nested too deeply to be validated"
        except TooLongError:
            return f"the record takes more than {RECORD_SECONDS} s to be validated"
        return "; ".join(said(error) for error in errors[:_MAX_REASONS]) or None

    async def flush(self, step: Step, *, final: bool) -> None: ...


def _schema(node: Node) -> Schema:
    schema = node.params.get("schema")
    if not isinstance(schema, (dict, bool)):
        raise StreamError(f"{node.name}: schema must be a JSON Schema")
    try:
        return read_schema(_encode(schema).decode())
    except BrokenSchemaError as error:
        raise StreamError(f"{node.name}: the schema {error}") from None
