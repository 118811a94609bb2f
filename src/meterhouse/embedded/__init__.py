"""The private Postgres and Redis of `meterhouse serve`, kept inside one data directory.

One thread forks, watches, restarts and stops both servers. So a stop cannot race with a restart, and Linux's
parent-death signal, which follows the forking *thread*, fires only when nobody is left to stop them.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from meterhouse.embedded.binaries import find_redis
from meterhouse.embedded.folder import account_for, make_run, remove_run, say, write_private
from meterhouse.embedded.postgres import PORT, create_database, postgres_server
from meterhouse.embedded.server import Account, EmbeddedError, Server

__all__ = ["EmbeddedError", "Servers", "lock", "running", "start"]


_log = logging.getLogger("meterhouse.embedded")


@dataclass(frozen=True)
class Servers:
    """Where the servers listen; None for one that was not asked for."""

    database_url: str | None
    redis_url: str | None


def redis_server(data_dir: Path, run: Path, account: Account | None) -> Server:
    """Nothing is kept on disk: it holds rate-limit tokens, and an empty bucket table is a fair start."""
    listen = run / "redis.sock"
    options = {"port": "0", "unixsocket": str(listen), "unixsocketperm": "700", "save": "", "appendonly": "no"}
    return Server(
        name="Redis",
        command=[str(find_redis()), *(word for name, value in options.items() for word in (f"--{name}", value))],
        log=data_dir / "redis.log",
        account=account,
        folders=[run],
        ask=signal.SIGTERM,
        patience_seconds=5.0,
        tidy=partial(listen.unlink, missing_ok=True),
        is_ready=lambda _pid: say(listen, b"PING").startswith(b"+PONG"),
    )


class Keeper(threading.Thread):
    """The thread that owns the servers, from the first fork to the last wait."""

    def __init__(self, data_dir: Path, *, postgres: bool, redis: bool) -> None:
        super().__init__(name="meterhouse-embedded", daemon=True)
        self.up: Future[Servers] = Future()
        self.leave = threading.Event()
        self._data_dir, self._postgres, self._redis = data_dir, postgres, redis
        self._servers: list[Server] = []

    def run(self) -> None:
        try:
            self.up.set_result(self._bring_up())
            while not self.leave.wait(0.1):
                self._heal()
        except Exception as error:
            if self.up.done():
                raise
            self.up.set_exception(error)
        finally:
            for server in self._servers:
                server.stop()
            remove_run(self._data_dir)

    def _bring_up(self) -> Servers:
        account = account_for(self._data_dir)
        run = make_run(self._data_dir, account)
        if self._redis:
            self._servers.append(redis_server(self._data_dir, run, account))
        if self._postgres:
            self._servers.append(postgres_server(self._data_dir, run, account))
        for server in self._servers:
            server.launch()
        for server in self._servers:
            server.await_ready(self.leave)
        if self._postgres and not self.leave.is_set():
            create_database(run)
        host = quote(str(run))
        return Servers(
            f"postgresql+psycopg://meterhouse@/meterhouse?host={host}&port={PORT}" if self._postgres else None,
            f"unix://{host}/redis.sock" if self._redis else None,
        )

    def _heal(self) -> None:
        for server in self._servers:
            if server.child is None or server.child.poll() is None:
                continue
            _log.error("%s died (exit status %s), starting it again", server.name, server.child.returncode)
            try:
                server.launch()
                server.await_ready(self.leave)
                _log.warning("%s is back", server.name)
            except (EmbeddedError, OSError) as error:
                _log.error("%s does not come back: %s", server.name, error)
                self.leave.wait(2)


@contextlib.contextmanager
def lock(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; made (0700) when it does not exist.

    Raises EmbeddedError when another process holds it or when it cannot be used.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EmbeddedError(f"cannot use the data directory {data_dir}: {error.strerror} ({error.filename})") from error
    try:
        if not _take(held, fcntl.LOCK_EX, tries=5):
            holder = os.pread(held, 20, 0).decode().strip()
            raise EmbeddedError(f"the data directory {data_dir} is already in use by process {holder}")
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
        (data_dir / "servers.json").unlink(missing_ok=True)
        yield
    finally:
        os.close(held)


def _take(held: int, kind: int, tries: int = 1) -> bool:
    """More than one try, because `running` holds the lock for an instant to see whether it is free."""
    for _ in range(tries):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(held, kind | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def start(data_dir: Path, *, postgres: bool, redis: bool) -> Iterator[Servers]:
    """Run the servers asked for while the context is open; the caller holds the lock of the directory.

    A server that dies is started again with the same URL. Raises EmbeddedError when one cannot start.
    """
    data_dir = data_dir.resolve()
    keeper = Keeper(data_dir, postgres=postgres, redis=redis)
    published = data_dir / "servers.json"
    keeper.start()
    try:
        try:
            servers = keeper.up.result()
            write_private(published, json.dumps(asdict(servers)))
        except OSError as error:
            raise EmbeddedError(f"cannot use the data directory {data_dir}: {error}") from error
        yield servers
    finally:
        published.unlink(missing_ok=True)
        keeper.leave.set()
        keeper.join()


def running(data_dir: Path) -> Servers | None:
    """The servers that another process runs in this directory now; None when nobody does."""
    try:
        servers = Servers(**json.loads((data_dir / "servers.json").read_text()))
        with (data_dir / "lock").open("rb") as held:
            return None if _take(held.fileno(), fcntl.LOCK_SH) else servers
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise EmbeddedError(f"the data directory {data_dir} belongs to another user") from error
