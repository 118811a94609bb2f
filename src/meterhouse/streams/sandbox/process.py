"""The parent's side of the process in which scripts run: started when it is needed, ended when it misbehaves."""

import asyncio
import os
import re
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

MIB = 1024 * 1024
_CHILD = Path(__file__).parent / "child.py"
_START_SECONDS = 30
_LOCATE_OVERHEAD_SECONDS = 3
BROKEN = "the script broke what it runs in, or made something that is nested too deeply"
_MAX_FRAME_BYTES = 96 * MIB
# Beyond the parent's own patience: this ends a child that has lost its parent.
_ALARM_AFTER_SECONDS = 5
# JSON.stringify escapes no other character above U+001F: half a pair of surrogates, or U+0000.
_UNSTORABLE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|0000)")


class Limits(msgspec.Struct, frozen=True, rename="camel"):
    """Of one part of a slice; in UTF-16 units (characters, nearly) where the name has no unit."""

    time_seconds: float = 10
    locate_seconds: float = 2
    """How long it may take to find out where a script failed that did not say."""
    heap_bytes: int = 128 * MIB
    resident_bytes: int = 512 * MIB
    """Of the whole process, with what is not on the engine's heap: buffers, the engine itself. Linux keeps it."""
    output: int = 16 * MIB
    log_lines: int = 1_000
    log_line: int = 4_000
    key: int = 512
    value: int = 256 * 1024
    state: int = MIB
    session: int = 256 * 1024


Scope = Literal["node", "shared"]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Failure(msgspec.Struct):
    message: str
    line: int | None = None
    """As the engine counts: from two lines before the script."""


class _Reply(msgspec.Struct):
    wants: list[tuple[Scope, Key]] | None = None
    failed: Failure | None = None
    done: msgspec.Raw = msgspec.Raw(b"")


class ScriptFailedError(Exception):
    """The script, not the sandbox: it was wrong, or passed a limit."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


Answer = Callable[[Sequence[tuple[Scope, str]]], Awaitable[bytes]]
"""Stored values, as the JSON that the prelude's answer() takes."""


class Sandbox:
    """One process. Scripts take turns in it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    async def run(self, job: bytes, answer: Answer, *, locate: bool = True) -> msgspec.Raw:
        """What the script leaves behind, unchecked. ScriptFailedError where it leaves nothing.

        `locate`: where the error names no line, the script is run once more to find it out.
        """
        async with self._turn:
            try:
                return await self._try(job, answer, self.limits.time_seconds)
            except ScriptFailedError as error:
                if error.failure.line is not None or not locate:
                    raise
                failure = error.failure
            # What it leaves or fails with now does not matter.
            try:
                await self._try(b"?" + job, answer, self.limits.locate_seconds + _LOCATE_OVERHEAD_SECONDS)
            except ScriptFailedError as error:
                failure.line = error.failure.line
            raise ScriptFailedError(failure)

    async def _try(self, job: bytes, answer: Answer, seconds: float) -> msgspec.Raw:
        try:
            return await self._converse(job, answer, seconds)
        except BaseException:
            # Also when the caller is cancelled: nobody knows what the process is at.
            await self.close()
            raise

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        await _drain(process)

    async def _converse(self, job: bytes, answer: Answer, seconds: float) -> msgspec.Raw:
        if self._process is None:
            self._process = await self._start()
        loop, left, message = asyncio.get_running_loop(), seconds, job
        while True:
            begin = loop.time()
            try:
                async with asyncio.timeout(left):
                    reply = await _exchange(self._process, message)
            except TimeoutError:
                raise _failed(f"the script ran for more than {seconds:g} seconds") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise _failed(await _why_gone(self._process)) from None
            except (msgspec.MsgspecError, RecursionError):
                raise _failed(BROKEN) from None
            left -= loop.time() - begin  # the time that the database takes is not the script's
            if reply.failed is not None:
                raise ScriptFailedError(reply.failed)
            if bytes(reply.done):
                return reply.done
            message = await answer(reply.wants or [])

    async def _start(self) -> Process:
        limits = self.limits
        alarm_seconds = int(limits.time_seconds) + _ALARM_AFTER_SECONDS
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-B", str(_CHILD)),
            *(str(limits.heap_bytes), str(limits.resident_bytes), str(alarm_seconds)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd="/",
            env={"TZ": "UTC"},
            limit=MIB,
        )
        self._process = process  # from here on close() ends it
        try:
            async with asyncio.timeout(_START_SECONDS):
                await _read(process)
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            _, complaint = await _drain(process)
            raise RuntimeError(f"scripts cannot run on this machine: {complaint[-2000:]}") from error
        return process


def _failed(message: str) -> ScriptFailedError:
    return ScriptFailedError(Failure(message))


async def _exchange(process: Process, message: bytes) -> _Reply:
    assert process.stdin is not None
    process.stdin.write(struct.pack(">I", len(message)))
    process.stdin.write(message)
    await process.stdin.drain()
    reply = await _read(process)
    return _decode_reply(_UNSTORABLE.sub(rb"\1\\ufffd", reply) if b"\\u" in reply else reply)


_decode_reply = msgspec.json.Decoder(_Reply).decode


async def _read(process: Process) -> bytes:
    assert process.stdout is not None
    (size,) = struct.unpack(">I", await process.stdout.readexactly(4))
    if size > _MAX_FRAME_BYTES:
        raise _failed(BROKEN)
    return await process.stdout.readexactly(size)


async def _why_gone(process: Process) -> str:
    code, complaint = await _drain(process)
    if "memory" in complaint:
        return "the script needs more memory than a script may have"
    if code == -signal.SIGALRM:
        return "the script ran for too long"
    return f"the script broke what it runs in (exit status {code})"


async def _drain(process: Process) -> tuple[int, str]:
    """Ends the process, if it has not ended by itself; its exit status and what it complained about."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # Process.kill() would take the exit status away from who waits for it
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.close()
    complaint, _ = await asyncio.gather(process.stderr.read(), process.stdout.read())
    return await process.wait(), complaint.decode(errors="replace")
