"""Load at a given rate, measured as callers feel it: an open loop over HTTP/1.1, in one process.

Requests are due at random (Poisson) instants that do not depend on the answers, and a latency counts from the instant
its request was due: a server that stops for a second is charged for all that were due in it. General clients cost more
than the server that they measure, so this one speaks only what is needed: keep-alive, Content-Length, no redirects.
"""

import asyncio
import random
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import uvloop

LOST = 0
"""The status of a request whose connection ended before its answer."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """`seconds` from the instant the request was due to the end of its answer."""

    number: int
    status: int
    body: bytes
    seconds: float


@dataclass(slots=True)
class Report:
    """What came of a run; every request has its answer in it, if only a LOST one."""

    rate: float
    answers: list[Answer] = field(default_factory=list)

    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def milliseconds(self, percent: float) -> float:
        """The latency that so many percent of the requests stay within; a lost one never does."""
        ordered = sorted(float("inf") if one.status == LOST else one.seconds for one in self.answers)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000

    def __str__(self) -> str:
        latencies = ", ".join(f"p{percent:g} {self.milliseconds(percent):.1f} ms" for percent in (50, 99, 99.9, 100))
        return f"{len(self.answers)} requests at {self.rate:g}/s: {latencies}; {dict(self.statuses())}"


def http_request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class _Due:
    number: int
    at: float
    request: bytes


class _Run:
    """The requests that wait for a connection, the connections that wait for a request, and the answers so far."""

    def __init__(self, report: Report, total: int) -> None:
        self.report = report
        self.waiting: deque[_Due] = deque()
        self.idle: deque[_Connection] = deque()
        self.total = total
        self.done = asyncio.Event()

    def dispatch(self, due: _Due) -> None:
        if self.idle:
            self.idle.popleft().ask(due)
        else:
            self.waiting.append(due)

    def free(self, connection: "_Connection") -> None:
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def answered(self, due: _Due, status: int, body: bytes) -> None:
        seconds = asyncio.get_running_loop().time() - due.at
        self.report.answers.append(Answer(due.number, status, body, seconds))
        if len(self.report.answers) == self.total:
            self.done.set()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, run: _Run, reconnect: Callable[[], None]) -> None:
        self._run = run
        self._reconnect = reconnect
        self._transport: asyncio.Transport | None = None
        self._due: _Due | None = None
        self._received = b""
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._run.free(self)

    def ask(self, due: _Due) -> None:
        assert self._transport is not None, "asked once it is connected"
        self._due = due
        self._transport.write(due.request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0 or self._due is None:
            return
        length = _LENGTH.search(self._received, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return
        due, self._due = self._due, None
        status, body = int(self._received[9:12]), self._received[head + 4 : end]
        self._received = b""
        self._run.answered(due, status, body)
        self._run.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.closed.set_result(None)
        if self._due is not None:
            self._run.answered(self._due, LOST, b"")
        elif self in self._run.idle:
            self._run.idle.remove(self)
        if not self._run.done.is_set():
            self._reconnect()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def open_loop(
    address: tuple[str, int],
    make_request: Callable[[int], bytes],
    *,
    rate: float,
    seconds: float,
    connections: int = 64,
) -> Report:
    """Sends `make_request(0)`, `make_request(1)`, … at `rate` a second and waits at most 30 s for the last answers."""
    loop = asyncio.get_running_loop()
    moments = random.Random(1)
    total = int(rate * seconds)
    run = _Run(Report(rate), total)
    opened: list[_Connection] = []
    tasks: set[asyncio.Task[None]] = set()

    async def connect() -> None:
        while not run.done.is_set():
            try:
                _, connection = await loop.create_connection(lambda: _Connection(run, reconnect), *address)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            opened.append(connection)
            return

    def reconnect() -> None:
        task = asyncio.create_task(connect())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await asyncio.gather(*(connect() for _ in range(connections)))
    at = loop.time()
    for number in range(total):
        at += moments.expovariate(rate)
        if (pause := at - loop.time()) > 0:
            await asyncio.sleep(pause)
        run.dispatch(_Due(number, at, make_request(number)))
    try:
        await asyncio.wait_for(run.done.wait(), 30)
    except TimeoutError:
        answered = {answer.number for answer in run.report.answers}
        run.report.answers += [Answer(number, LOST, b"", 30.0) for number in range(total) if number not in answered]
        run.done.set()
    for connection in opened:
        connection.close()
    await asyncio.gather(*tasks, *(connection.closed for connection in opened))
    return run.report


def measure(
    address: tuple[str, int],
    make_request: Callable[[int], bytes],
    *,
    rate: float,
    seconds: float,
    connections: int = 64,
) -> Report:
    """`open_loop` for callers without an event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(open_loop(address, make_request, rate=rate, seconds=seconds, connections=connections))
