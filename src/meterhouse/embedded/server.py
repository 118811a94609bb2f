"""One server as a child process: launched, awaited, stopped."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger("meterhouse.embedded")

_LOG_LIMIT_BYTES = 16 * 2**20
_PROGRESS_SECONDS = 5.0


class EmbeddedError(Exception):
    """The private servers cannot run; the message is one line for a person."""


class Account(NamedTuple):
    """The ordinary user a root process lends its servers to: Postgres refuses to run as root."""

    name: str
    uid: int
    gid: int


def launch(
    command: list[str], *, account: Account | None, folders: list[Path], death: signal.Signals, output: int
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that Ctrl-C in the terminal reaches us and not the server."""
    order = {
        "command": command,
        "account": account,
        "folders": [str(folder) for folder in folders],
        "death": int(death),
        "parent": os.getpid(),
    }
    inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    return subprocess.Popen(  # noqa: S603 our own binaries and paths
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("become.py")), json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        start_new_session=True,
        env=inherited | {"LC_ALL": "C", "TZ": "UTC"},
    )


@dataclass
class Server:
    name: str
    command: list[str]
    log: Path
    account: Account | None
    folders: list[Path]
    ask: signal.Signals  # stops it cleanly; it is sent this too when we die
    patience_seconds: float
    tidy: Callable[[], None]  # removes what a dead predecessor left
    is_ready: Callable[[int], bool]
    child: subprocess.Popen[bytes] | None = None
    log_offset: int = field(default=0, init=False)

    def launch(self) -> None:
        self.tidy()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        output = os.open(self.log, flags, 0o600)
        try:
            if os.fstat(output).st_size > _LOG_LIMIT_BYTES:
                os.ftruncate(output, 0)
            self.log_offset = os.fstat(output).st_size
            self.child = launch(self.command, account=self.account, folders=self.folders, death=self.ask, output=output)
        finally:
            os.close(output)

    def await_ready(self, leave: threading.Event) -> None:
        """Wait as long as the child lives: crash recovery takes what it takes."""
        began = told = time.monotonic()
        while self.child and not self.is_ready(self.child.pid):
            if self.child.poll() is not None:
                said = self._last_words()
                if "shared memory block" not in said:
                    raise EmbeddedError(f"{self.name} stopped while starting: {said} ({self.log})")
                # Backends of a killed postmaster are still attached: Postgres rightly waits for them to go.
                leave.wait(0.2)
                self.launch()
            if leave.wait(0.01):
                return
            if time.monotonic() - told >= _PROGRESS_SECONDS:
                told = time.monotonic()
                sys.stderr.write(f"{self.name} is starting, {told - began:.0f} s: {self._last_words(1)}\n")

    def stop(self) -> None:
        if self.child is None:
            return
        for number, seconds in ((self.ask, self.patience_seconds), (signal.SIGQUIT, 5.0), (signal.SIGKILL, None)):
            self.child.send_signal(number)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                _log.warning("%s has not stopped %s s after %s", self.name, seconds, number.name)
            else:
                return

    def _last_words(self, lines: int = 4) -> str:
        with self.log.open("rb") as log:
            log.seek(self.log_offset)
            return " | ".join(log.read().decode(errors="replace").strip().splitlines()[-lines:]) or "no word in its log"
