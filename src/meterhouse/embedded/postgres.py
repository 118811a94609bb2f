"""The private Postgres: its cluster, its settings, and what a killed one leaves behind."""

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
import psycopg

from meterhouse.embedded.binaries import find_postgres
from meterhouse.embedded.folder import make_private, write_private
from meterhouse.embedded.server import Account, EmbeddedError, Server, launch

_log = logging.getLogger("meterhouse.embedded")


PORT = 5432  # no TCP: it only names the socket, and is written out so that PGPORT cannot change it
_DEAD_PID = 2**31 - 1  # above every system's pid_max


def _settings(run: Path) -> dict[str, str]:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(run),
        "unix_socket_permissions": "0700",
        "max_connections": "300",
        "shared_buffers": f"{min(256, max(16, memory_bytes // 8 // 2**20))}MB",
        "jit": "off",
        "fsync": "on",
        "synchronous_commit": "on",
        # pglz: a build without lz4 could not recover a log that another build of the same major wrote with it.
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def _initialise(bin_folder: Path, cluster: Path, account: Account | None) -> None:
    """Make the cluster beside its place and rename it, so that a kill leaves all of it or nothing."""
    new = cluster.with_name("postgres.new")
    _stop_processes_in(new)
    shutil.rmtree(new, ignore_errors=True)
    make_private(new, account)
    # Locale C: byte order is code point order in UTF-8, the same on every system and with every C library, so
    # indexes survive an upgrade of the machine. The builtin C.UTF-8 exists only from Postgres 17 on.
    command = [str(bin_folder / "initdb"), "-D", str(new), "-U", "meterhouse", "--encoding=UTF8", "--locale=C"]
    command += ["--data-checksums", "--auth-local=trust", "--auth-host=reject"]
    with tempfile.TemporaryFile() as output:
        child = launch(command, account=account, folders=[new], death=signal.SIGTERM, output=output.fileno())
        if child.wait() != 0:
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()[-4:]
            raise EmbeddedError(f"initdb failed: {' | '.join(said)}")
    new.rename(cluster)
    parent = os.open(cluster.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def _processes_in(cluster: Path) -> dict[int, int]:
    """Living Postgres processes of this cluster, pid to parent's pid.

    The working directory tells: a pid file may lie, and a zombie (of a PID 1 that does not reap, as in many
    containers) looks alive to kill(). Compared as a file, because a container may have the same path.
    """
    found = {}
    for process in psutil.process_iter(["ppid", "name"]):
        if process.info["name"] == "postgres":
            with contextlib.suppress(OSError, psutil.Error):
                works_in = f"/proc/{process.pid}/cwd" if sys.platform == "linux" else process.cwd()
                if cluster.samefile(works_in):
                    found[process.pid] = process.info["ppid"]
    return found


def _stop_processes_in(cluster: Path) -> None:
    """End what an earlier life left: a postmaster whose `serve` was killed, or backends without a postmaster."""
    for number, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        orphans = _processes_in(cluster)
        if orphans:
            _log.warning("waiting for %d Postgres processes of an earlier run to stop", len(orphans))
        for pid, parent in orphans.items():
            # To a postmaster SIGINT means "stop fast", to its backends only "cancel": theirs is to follow it.
            if parent not in orphans or number == signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not _processes_in(cluster):
                return
            time.sleep(0.02)


def _tidy_postgres(cluster: Path, run: Path, account: Account | None) -> None:
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (run / name).unlink(missing_ok=True)
    pid_file = cluster / "postmaster.pid"
    if not pid_file.exists():
        return
    _stop_processes_in(cluster)
    # The pid may belong to a stranger or a zombie by now. Only that line is replaced: Postgres goes on to check by
    # the shared memory key further down that no backend of the old life is still attached.
    with contextlib.suppress(FileNotFoundError):
        lines = pid_file.read_text().splitlines()
        if lines:
            write_private(pid_file, "\n".join([str(_DEAD_PID), *lines[1:], ""]), account)
        else:
            pid_file.unlink()


def _postgres_is_ready(cluster: Path, pid: int) -> bool:
    """The eighth line of the pid file is the state, as pg_ctl reads it: no refused connections fill the log."""
    with contextlib.suppress(FileNotFoundError):
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return False


def create_database(run: Path) -> None:
    try:
        with psycopg.connect(
            host=str(run), port=PORT, user="meterhouse", dbname="postgres", autocommit=True
        ) as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = 'meterhouse'").rowcount:
                connection.execute("CREATE DATABASE meterhouse")
    except psycopg.Error as error:
        raise EmbeddedError(
            f"Postgres runs, but its database cannot be made: {' '.join(str(error).split())}"
        ) from error


def postgres_server(data_dir: Path, run: Path, account: Account | None) -> Server:
    cluster = data_dir / "postgres"
    bin_folder = find_postgres(cluster)
    if not (cluster / "PG_VERSION").exists():
        _initialise(bin_folder, cluster, account)
    options = [word for name, value in _settings(run).items() for word in ("-c", f"{name}={value}")]
    return Server(
        name="Postgres",
        command=[str(bin_folder / "postgres"), "-D", str(cluster), *options],
        log=data_dir / "postgres.log",
        account=account,
        folders=[cluster, run],
        ask=signal.SIGINT,
        patience_seconds=30.0,
        tidy=partial(_tidy_postgres, cluster, run, account),
        is_ready=partial(_postgres_is_ready, cluster),
    )
