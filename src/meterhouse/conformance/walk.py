"""A walk through an API: calls that wait when they are told to, checks that are noted, and what is left to clean up."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec

from meterhouse.conformance import specs
from meterhouse.conformance.expect import ANYTHING, MISSING, Like, differences, show
from meterhouse.conformance.report import Report, Rule

_WAITS = 20
_encode = msgspec.json.Encoder(decimal_format="number").encode
_LONGEST_WAIT_SECONDS = 60


class StopWalkError(Exception):
    """What comes next cannot be checked, because of what went before."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is expected. `body` None: none at all."""

    status: int
    body: Any = ANYTHING
    headers: dict[str, Any] = field(default_factory=dict)


@dataclass
class Walk:
    """With the credentials that `http` carries. What it makes has `mark` in its name, and is deleted at the end."""

    http: httpx.Client
    report: Report
    mark: str
    sleep: Callable[[float], None] = time.sleep
    specifications: Path = specs.FOLDER
    _undo: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        """As httpx calls, but numbers in `json` may be Decimals, and 429 is waited out."""
        if "json" in how:
            how["headers"] = {"Content-Type": "application/json"} | how.get("headers", {})
            how["content"] = _encode(how.pop("json"))
        for _ in range(_WAITS):
            response = self.http.request(method, path, **how)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return response
            self.sleep(self._seconds_to_wait(response))
        raise StopWalkError(f"{method} {path} is still refused with 429 after {_WAITS} waits")

    def _seconds_to_wait(self, response: httpx.Response) -> int:
        told = response.headers.get("Retry-After", "")
        if not told.isdigit() or not 1 <= int(told) <= _LONGEST_WAIT_SECONDS:
            rule = Rule("(any)", "429 says in Retry-After when to come back", "RFC 6585, 4; Usage Engine, Rate limits")
            self.report.add(rule, "fail", f"1 to {_LONGEST_WAIT_SECONDS} seconds", told or "no Retry-After")
            return 1
        return int(told)

    def check(self, rule: Rule, response: httpx.Response, expected: Answer) -> Any:
        """The body, numbers exact; None if there is none."""
        body = read_body(response)
        wrong = [] if response.status_code == expected.status else [f"the status is {response.status_code}"]
        if expected.body is None:
            wrong += ["there is a body"] if response.content else []
        else:
            wrong += differences(expected.body, body)
        for name, value in expected.headers.items():
            wrong += differences(value, response.headers.get(name, MISSING), name)
        wrong += [
            f"by the specification: {line}" for line in specs.problems(rule.operation, response, self.specifications)
        ]
        if response.status_code != expected.status and response.content:
            wrong.append(response.text[:300])
        self.note(rule, wrong, _describe(expected), str(response.status_code))
        return None if body is MISSING else body

    def note(self, rule: Rule, wrong: list[str], expected: str, seen: str) -> None:
        self.report.add(rule, "fail" if wrong else "pass", expected, "; ".join(wrong) or seen)

    def skip(self, rule: Rule, why: str) -> None:
        self.report.add(rule, "skip", "", why)

    def delete_later(self, path: str, **headers: str) -> None:
        self._undo.append((path, headers))

    def made(self, path: str) -> bool:
        return any(path == one for one, _ in self._undo)

    def clean_up(self) -> None:
        """What the walk itself deleted is gone already: that is no fault."""
        while self._undo:
            path, headers = self._undo.pop()
            response = self.call("DELETE", path, headers=headers)
            if response.status_code != httpx.codes.NOT_FOUND and not response.is_success:
                rule = Rule("(cleaning up)", f"DELETE {path}", "what was made here is deleted again")
                self.report.add(rule, "fail", "2xx or 404", f"{response.status_code} {response.text[:200]}")


def read_body(response: httpx.Response) -> Any:
    """JSON, numbers exact; else text; MISSING if there is none."""
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError:
        return MISSING if not response.content else response.text


def _describe(expected: Answer) -> str:
    body = "" if expected.body is ANYTHING else ", no body" if expected.body is None else f", {show(expected.body)}"
    headers = "".join(f", {name}: {show(value)}" for name, value in expected.headers.items())
    return f"{expected.status}{body}{headers}"


def member_of(body: Any, *names: str) -> Any:
    """Down through objects; MISSING if one of them is not there."""
    for name in names:
        body = body.get(name, MISSING) if isinstance(body, dict) else MISSING
    return body


def text_of(body: Any, *names: str) -> str:
    """A member that the rest of the walk cannot do without."""
    value = member_of(body, *names)
    if not isinstance(value, str):
        raise StopWalkError(f"the answer has no {'.'.join(names)}: {show(body)[:200]}")
    return value


def wait_until(holds: Callable[[], bool], seconds: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        sleep(0.2)
    return True


def usage_engine_error(status: int, field: str | None = None) -> Answer:
    """The Usage Engine's documents name the codes and not the body; the body is Meterhouse's."""
    body: dict[str, Any] = {"statusCode": status, "error": ANYTHING, "message": ANYTHING}
    if field is not None:
        body["details"] = _naming(field, "path")
    return Answer(status, body)


def problem(status: int, field: str | None = None, **more: Any) -> Answer:
    """RFC 9457 as OpenMeter sends it: its SDKs compare the media type letter by letter."""
    body: dict[str, Any] = {"type": ANYTHING, "title": ANYTHING, "status": status, "detail": ANYTHING} | more
    if field is not None:
        body["extensions"] = {"validationErrors": _naming(field, "field")}
    return Answer(status, body, {"Content-Type": "application/problem+json"})


def _naming(field: str, member: str) -> Like:
    def holds(errors: Any) -> bool:
        listed = errors if isinstance(errors, list) else []
        places = [str(error.get(member)) for error in listed if isinstance(error, dict)]
        return any(place == field or place.startswith((f"{field}.", f"{field}[")) for place in places)

    return Like(f"a list that names {field}", holds)
