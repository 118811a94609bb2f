"""The process in which scripts run: one engine after the other, a new one for every slice of records.

Run as a script by an isolated interpreter with an empty environment, so only the standard library and the engine are
here. It reads frames (four bytes of length, then text) from standard input and answers on standard output: a job with
the outcome of the prelude, and a frame after {"wants"} is the answer to it. A job behind a question mark is one that
failed without a line: it is run again to find out where. The process knows nothing that is worth stealing: no
secrets, no database, no other stream's records; and it can open neither files nor sockets once it has begun.
"""

import asyncio
import ctypes
import json
import os
import pwd
import re
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from py_mini_racer import JSEvalException, JSFunction, init_mini_racer, mini_racer

# Without a compiler of machine code: most of what has ever been broken in the engine was there. Regular expressions
# that go astray are tried again in linear time, unless they look around or back.
_FLAGS = ("--single-threaded", "--jitless", "--enable-experimental-regexp-engine-on-excessive-backtracks")
_HERE = Path(__file__).parent
_PRELUDE, _MOMENT, _ACORN = (_HERE / name for name in ("prelude.js", "moment.min.js", "acorn.js"))
_FIRST_JOB = json.dumps(
    {
        "source": "require('moment')().format()",
        "records": [[{}, {}, None]],
        "sessions": [],
        "node": {},
        "stream": {},
        "limits": {},
    }
)
# As the engine counts: two lines come before the script.
_LINES_BEFORE = 2
_SYNTAX_ERROR = re.compile(r"\w+:(\d+): (.*)")
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def read_frame(source: BinaryIO) -> str:
    """The next frame. Ends the process where there is none: the parent is done with it, or gone."""
    head = source.read(4)
    if len(head) < 4:
        sys.exit(0)
    return source.read(struct.unpack(">I", head)[0]).decode()


def write_frame(target: BinaryIO, text: str) -> None:
    body = text.encode()
    target.write(struct.pack(">I", len(body)) + body)
    target.flush()


def failed(message: str, line: int | None = None) -> str:
    return json.dumps({"failed": {"message": message, "line": line}})


class Engine:
    """What is the same for every job: sources, limits and the loop that the engine's binding asks for."""

    def __init__(self, heap_bytes: int) -> None:
        self._heap_bytes = heap_bytes
        self._prelude = _PRELUDE.read_text(encoding="utf-8")
        self._moment = _MOMENT.read_text(encoding="utf-8")
        self._acorn = _ACORN.read_text(encoding="utf-8")
        self._loop = asyncio.get_running_loop()

    def run(self, job: str, ask: Callable[[str], str]) -> str:
        """The outcome of a job. `ask` sends the parent what the script waits for, and returns the answer."""
        with mini_racer(self._loop) as engine:
            engine.set_hard_memory_limit(self._heap_bytes)
            prelude = cast("dict[str, Callable[..., str]]", engine.eval(self._prelude))
            try:
                prelude["start"](job, self._moment)
                while (outcome := prelude["outcome"]()).startswith('{"wants"'):
                    prelude["answer"](ask(outcome))
            except JSEvalException as error:
                if engine.was_hard_memory_limit_reached():
                    return failed(f"the script needs more than {self._heap_bytes >> 20} MiB of memory")
                found = _SYNTAX_ERROR.match(str(error))
                return failed(found[2], int(found[1])) if found else failed(str(error)[:2000])
            return outcome

    async def locate(self, job: str, ask: Callable[[str], str]) -> str:
        """The line that the script reaches before it fails or the time is up: a failure without a message."""
        timed = json.loads(job)
        seconds = timed["limits"]["locateSeconds"]
        timed["stopAt"] = int((time.time() + seconds) * 1000)
        with mini_racer(self._loop) as engine:
            engine.set_hard_memory_limit(self._heap_bytes)
            prelude = cast("dict[str, JSFunction]", engine.eval(self._prelude))
            reached = cast("memoryview", prelude["reached"])
            # What the script is caught in, if it does not notice the time by itself, is ended a little later.
            patience = seconds + 0.5
            with suppress(JSEvalException, TimeoutError):
                async with asyncio.timeout(patience):
                    await prelude["start"].cancelable()(json.dumps(timed), self._moment, self._acorn)
                    while str(outcome := await prelude["outcome"].cancelable()()).startswith('{"wants"'):
                        await prelude["answer"].cancelable()(ask(str(outcome)))
            line = int.from_bytes(reached, sys.byteorder)
        return failed("", line + _LINES_BEFORE if line else None)


def confine(resident_bytes: int) -> None:
    """After this nothing can be opened, and neither the parent nor its files can be reached even by a broken engine."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS knows the limit and does not keep it
        resource.setrlimit(resource.RLIMIT_DATA, (resident_bytes, resident_bytes))
    if os.geteuid() == 0:
        with suppress(OSError, KeyError):  # a container may have root without the right to become somebody else
            nobody = pwd.getpwnam("nobody")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after the user has changed, which clears it
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


async def serve(heap_bytes: int, resident_bytes: int, alarm_seconds: int) -> None:
    source, target = sys.stdin.buffer, sys.stdout.buffer
    init_mini_racer(flags=_FLAGS)
    engine = Engine(heap_bytes)
    # One job before the doors are closed: whatever is loaded late is loaded now.
    outcome = engine.run(_FIRST_JOB, lambda _: "[]")
    confine(resident_bytes)
    write_frame(target, outcome)

    def ask(wants: str) -> str:
        signal.alarm(0)
        write_frame(target, wants)
        answer = read_frame(source)
        signal.alarm(alarm_seconds)
        return answer

    while True:
        job = read_frame(source)
        # The parent ends a job that takes too long; where it cannot any more, the kernel does.
        signal.alarm(alarm_seconds)
        failing = job.startswith("?")
        write_frame(target, await engine.locate(job[1:], ask) if failing else engine.run(job, ask))
        signal.alarm(0)


if __name__ == "__main__":
    asyncio.run(serve(*(int(argument) for argument in sys.argv[1:])))
