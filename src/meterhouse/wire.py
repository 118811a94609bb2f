"""JSON over HTTP: bodies read within limits and validated with named fields, answers with exact decimals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response

from meterhouse.errors import BadRequestError, FieldError, TooLargeError, bad_fields
from meterhouse.rules.instants import format_instant
from meterhouse.rules.numbers import parse_decimal

MAX_BODY_BYTES = 1024 * 1024
_BODY = "meterhouse.body"


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a list: so many rows after so many."""

    limit: int
    offset: int


Model = TypeVar("Model", bound=BaseModel)

_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode_plain(value: Any) -> bytes:
    """JSON with numbers in plain digits, 0.0000001 and 1000, where Python by itself writes 1E-7 and 1E+3."""
    text = _encode(value)
    return _encode(_in_digits(value)) if b"E-" in text or b"E+" in text else text


def _in_digits(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_digits(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_digits(item) for item in value]
    return msgspec.Raw(format(value, "f").encode()) if isinstance(value, Decimal) else value


class JsonReply(Response):
    """JSON with decimals as numbers, digit for digit, and instants in RFC 3339."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            return _encode(content)
        except UnicodeEncodeError:  # an error that quotes a caller's lone surrogate
            return json.dumps(content, default=str).encode()


def rfc3339(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)


def page_headers(url: URL, page: int, page_size: int, total: int) -> dict[str, str]:
    """X-Total-Count, and Link (RFC 8288) to the first, previous, next and last page."""
    last = max(1, -(-total // page_size))
    targets = {"first": 1, "last": last}
    if page > 1:
        targets["prev"] = min(page - 1, last)
    if page < last:
        targets["next"] = page + 1
    links = [f'<{url.include_query_params(page=number)}>; rel="{name}"' for name, number in targets.items()]
    return {"X-Total-Count": str(total), "Link": ", ".join(links)}


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; more than `limit` bytes is a TooLargeError, noticed before they are all read.

    It is read once and kept: database.transaction has read it before a route asks for it.
    """
    if _BODY in request.scope:
        kept: bytes = request.scope[_BODY]
        return kept
    message = f"the request body has more than {limit} bytes"
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLargeError(message)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLargeError(message)
        chunks.append(chunk)
    body = b"".join(chunks)
    request.scope[_BODY] = body
    return body


def decode_json(body: bytes) -> Any:
    """The JSON value, decimals exact. Broken JSON, repeated members and what cannot be stored are a BadRequestError."""
    try:
        value = _decoder.decode(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequestError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise BadRequestError("the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _no_repeated_member(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {repeated!r} stands twice in one object")
    return members


# One for all: to make one takes as long as to read a small body.
_decoder = json.JSONDecoder(
    parse_float=parse_decimal, parse_constant=_no_constant, object_pairs_hook=_no_repeated_member
)


async def read_model(request: Request, model: type[Model], *, default: Any = None) -> Model:
    """The body as `model`. `default` stands for an empty body where one is allowed."""
    body = await read_body(request)
    if not body.strip():
        if default is None:
            raise BadRequestError("the request body is empty: a JSON object is expected")
        return validate(model, default)
    value = decode_json(body)
    if not isinstance(value, dict):
        raise BadRequestError("the request body must be a JSON object")
    return validate(model, value)


def validate(model: type[Model], value: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise bad_fields(field_errors(error.errors())) from None


def field_errors(errors: Any) -> list[FieldError]:
    """Pydantic's errors as field paths: thresholds[0].name."""
    return [FieldError(field_path(error["loc"]), _said(error), error["type"]) for error in errors]


def field_path(parts: tuple[int | str, ...]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _said(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return {"missing": "is required", "extra_forbidden": "is not a known member"}.get(error["type"], message)
