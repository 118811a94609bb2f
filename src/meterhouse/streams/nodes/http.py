"""transforms/http, HTTP request: another server is asked about each record, and its answer put into it."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from meterhouse.outbound import Answer, Call, CallFailedError
from meterhouse.rules.numbers import parse_decimal
from meterhouse.rules.records import text_of
from meterhouse.rules.storable import is_suspect, why_unstorable
from meterhouse.rules.templates import fill
from meterhouse.streams.credentials import authorize, read_login
from meterhouse.streams.function import Node, Record, Services, Step, StreamError

CONCURRENT_CALLS = 8
MAX_RETRIES = 5
MAX_DEPTH = 100
# Of one slice of records, which is one transaction: what is not called by then fails like what is not answered.
MAX_SLICE_SECONDS = 300
MAX_SLICE_BYTES = 64 * 1024 * 1024
_MAX_CACHE_SECONDS = 24 * 3600
_WAIT_SECONDS = 0.5
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(slots=True)
class _Slice:
    """What the calls of one slice share."""

    account_id: UUID
    stream_id: UUID
    services: Services
    authorization: str | None
    ends_at: float
    bytes_left: int = MAX_SLICE_BYTES
    locks: defaultdict[Any, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """By key of the cache: equal calls wait for the first."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An answer, a failure, or a failure with its answer."""

    answer: Answer | None
    added: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None


class HttpRequest:
    """What a record gains: `httpResponse`, the answer's JSON (else its text; null without a body). With
    useResponseHeaderKey also `httpResponseHeaders` (names in lower case) and `httpResponseStatus`. With the errorMode
    emit a failed call adds `httpError`: `{"message"}`, and `"status"` where there was an answer.
    """

    type: ClassVar[str] = "transforms/http"

    def __init__(self, node: Node) -> None:
        params = node.params
        self._node_id, self._name = node.id, node.name
        self._login = read_login(node)
        self._method = str(params.get("method") or "GET").upper()
        self._uri = params.get("uri")
        if not isinstance(self._uri, str) or not self._uri:
            raise StreamError(f"{node.name}: uri must be a text")
        self._query = _pairs(node, "qs")
        self._headers = _pairs(node, "headers")
        self._body = params.get("body")
        self._error_mode = params.get("errorMode") or "defer"
        if self._error_mode not in ("defer", "emit", "abort"):
            raise StreamError(f"{node.name}: errorMode must be defer, emit or abort")
        self._retries = min(_whole(node, "retries"), MAX_RETRIES) if params.get("shouldRetry") is True else 0
        self._cache_seconds = 0
        if params.get("useCache") is True:
            self._cache_seconds = min(_whole(node, "cacheSeconds"), _MAX_CACHE_SECONDS)
        self._cache_key = params.get("cacheKey")
        self._shows_headers = params.get("useResponseHeaderKey") is True

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        assert step.services is not None, "a worker brings them"
        shared = _Slice(step.account_id, step.stream_id, step.services, None, monotonic() + MAX_SLICE_SECONDS)
        outcomes = await self._log_in_and_call(records, shared, step)
        for place, record in enumerate(records):
            self._settle(record, outcomes[place], step)

    async def flush(self, step: Step, *, final: bool) -> None: ...

    async def _log_in_and_call(self, records: Sequence[Record], shared: _Slice, step: Step) -> dict[int, _Outcome]:
        """By place of the record. Logs in once; what was answered 401 is called again with another token."""
        try:
            if self._login is not None:
                shared.authorization = await authorize(self._login, shared.services, step)
            outcomes = await self._call_all(dict(enumerate(records)), shared)
            unauthorized = {place: records[place] for place, outcome in outcomes.items() if _status(outcome) == 401}
            if unauthorized and self._login is not None and self._login.type == "oauth2":
                shared.authorization = await authorize(self._login, shared.services, step, renew=True)
                outcomes |= await self._call_all(unauthorized, shared)
        except CallFailedError as error:
            return dict.fromkeys(range(len(records)), _Outcome(None, failure=str(error)))
        return outcomes

    async def _call_all(self, records: Mapping[int, Record], shared: _Slice) -> dict[int, _Outcome]:
        outcomes: dict[int, _Outcome] = {}
        waiting = deque(records.items())

        async def call_next() -> None:
            while waiting:
                place, record = waiting.popleft()
                outcomes[place] = outcome = await self._call(record, shared)
                if outcome.failure is not None and self._error_mode == "abort" and _status(outcome) != 401:
                    waiting.clear()

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_CALLS):
                group.create_task(call_next())
        return outcomes

    async def _call(self, record: Record, shared: _Slice) -> _Outcome:
        answer = None
        try:
            answer = await self._answer(record.payload, shared)
            added = self._added(answer)
        except CallFailedError as error:
            return _Outcome(answer, failure=str(error))
        failure = None if answer.is_success else f"the call was answered {answer.status}: {answer.excerpt()}"
        return _Outcome(answer, added, failure)

    async def _answer(self, payload: dict[str, Any], shared: _Slice) -> Answer:
        try:
            call = self._fill(payload, shared.authorization)
        except (UnicodeEncodeError, RecursionError):
            raise CallFailedError("the record holds what no request can carry") from None
        if not self._cache_seconds:
            return await self._try(call, shared)
        key: tuple[object, ...] = (call.method, call.url, tuple(call.headers.items()), call.body)
        if self._cache_key and (own := text_of(fill(self._cache_key, payload))):
            key = (shared.stream_id, self._node_id, own)
        key = (shared.account_id, *key)
        async with shared.locks[key]:
            answer = shared.services.answers.find(key)
            if answer is None:
                answer = await self._try(call, shared)
                if answer.is_success:
                    size = len(answer.body) + 1_000
                    shared.services.answers.keep(key, answer, self._cache_seconds, size)
        return answer

    async def _try(self, call: Call, shared: _Slice) -> Answer:
        """Again, after a growing pause, while tries are left and the other side may recover."""
        for tried in range(self._retries + 1):
            if monotonic() >= shared.ends_at:
                raise CallFailedError(f"not called: the calls of one slice have taken {MAX_SLICE_SECONDS} s")
            if shared.bytes_left <= 0:
                raise CallFailedError(f"not called: the answers of one slice have {MAX_SLICE_BYTES} bytes")
            last = tried == self._retries
            try:
                answer = await shared.services.http.call(call)
            except CallFailedError:
                if last:
                    raise
            else:
                shared.bytes_left -= len(answer.body)
                if last or answer.status not in _AGAIN:
                    return answer
            await asyncio.sleep(_WAIT_SECONDS * 2**tried)
        raise AssertionError("the last try has answered or failed")

    def _fill(self, payload: dict[str, Any], authorization: str | None) -> Call:
        headers = {name: text_of(value) for name, value in _filled(self._headers, payload)}
        body = _body(fill(self._body, payload))
        names = {name.lower() for name in headers}
        if body is not None and "content-type" not in names:
            headers["Content-Type"] = "application/json" if body[:1] in b"{[" else "text/plain; charset=utf-8"
        if "accept" not in names:
            headers["Accept"] = "application/json, */*;q=0.5"
        if authorization is not None:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            headers["Authorization"] = authorization
        return Call(self._method, self._url(payload), headers, body)

    def _url(self, payload: dict[str, Any]) -> str:
        text = text_of(fill(self._uri, payload))
        query = urlencode(
            [(name, text_of(item)) for name, value in _filled(self._query, payload) for item in _each(value)]
        )
        if not query:
            return text
        text, _, _ = text.partition("#")
        return f"{text}{'&' if '?' in text else '?'}{query}"

    def _added(self, answer: Answer) -> dict[str, Any]:
        added: dict[str, Any] = {"httpResponse": _read(answer.body)}
        if self._shows_headers:
            added |= {"httpResponseHeaders": dict(answer.headers), "httpResponseStatus": answer.status}
        return added

    def _settle(self, record: Record, outcome: _Outcome, step: Step) -> None:
        if outcome.failure is None:
            step.emit(Record(record.payload | outcome.added, record.meta))
        elif self._error_mode == "abort":
            raise StreamError(f"{self._name}: {outcome.failure}")
        elif self._error_mode == "emit":
            error: dict[str, Any] = {"message": outcome.failure}
            if outcome.answer is not None:
                error["status"] = outcome.answer.status
            step.emit(Record(record.payload | outcome.added | {"httpError": error}, record.meta))
        else:
            step.reject(record, outcome.failure)


def _status(outcome: _Outcome) -> int | None:
    return outcome.answer.status if outcome.answer else None


def _whole(node: Node, param: str) -> int:
    value = node.params.get(param) or 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise StreamError(f"{node.name}: {param} must be a whole number")
    return value


def _pairs(node: Node, param: str) -> list[tuple[str, Any]]:
    """From an object, or a list of `{key, value}`."""
    given = node.params.get(param) or {}
    if isinstance(given, dict):
        return list(given.items())
    if isinstance(given, list) and all(isinstance(one, dict) and isinstance(one.get("key"), str) for one in given):
        return [(one["key"], one.get("value")) for one in given]
    raise StreamError(f"{node.name}: {param} must be an object, or a list of objects with key and value")


def _filled(pairs: Sequence[tuple[str, Any]], payload: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Without those that lack a name."""
    named = [(text_of(fill(name, payload)), fill(value, payload)) for name, value in pairs]
    return [(name, "" if value is None else value) for name, value in named if name]


def _each(value: Any) -> list[Any]:
    """A list in the query is a name that stands there several times."""
    return value if isinstance(value, list) else [value]


def _body(filled: Any) -> bytes | None:
    """Text as it is, all else as JSON; nothing for nothing."""
    if filled is None or filled == "":
        return None
    return filled.encode() if isinstance(filled, str) else _encode(filled)


def _read(body: bytes) -> Any:
    """JSON with exact numbers, else text. CallFailedError for what no record can hold."""
    if not body:
        return None
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, parse_float=parse_decimal, parse_constant=_no_constant)
        reason = why_unstorable(text.encode()) if is_suspect(body) else None
    except RecursionError:
        value, reason = None, f"is nested more than {MAX_DEPTH} deep"
    except ValueError:
        return body.decode(errors="replace").replace("\x00", "\ufffd")
    if reason is None and _is_deep(value):
        reason = f"is nested more than {MAX_DEPTH} deep"
    if reason is not None:
        raise CallFailedError(f"the answer cannot be kept in a record: it {reason}")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return False
    return True


def _items(value: Any) -> Sequence[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
