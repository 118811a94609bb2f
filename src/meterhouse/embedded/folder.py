"""What lies in the data directory, and whose it is."""

import contextlib
import os
import pwd
import re
import shutil
import socket
import tempfile
from pathlib import Path

from meterhouse.embedded.server import Account, EmbeddedError

_SOCKET_DIR_LIMIT_BYTES = 84  # sun_path holds 104 bytes on macOS, 108 on Linux; ".s.PGSQL.5432.lock" is added


def make_private(folder: Path, account: Account | None) -> None:
    folder.mkdir(mode=0o700)
    if account:
        os.chown(folder, account.uid, account.gid)


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Replace a file in one step. O_EXCL: as root we may be writing where another user could plant a link."""
    spare = path.with_name(path.name + ".new")
    spare.unlink(missing_ok=True)
    with os.fdopen(os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        if account:
            os.fchown(file.fileno(), account.uid, account.gid)
        file.write(text)
    spare.replace(path)


def account_for(data_dir: Path) -> Account | None:
    """The owner of the cluster, or else `postgres`, or else `nobody`; None unless we are root."""
    if os.geteuid() != 0:
        return None
    cluster = data_dir / "postgres"
    account = None
    if cluster.exists() and (owner := cluster.stat()).st_uid:
        account = Account(f"{owner.st_uid}", owner.st_uid, owner.st_gid)
        with contextlib.suppress(KeyError):  # a mounted volume may belong to a user this system does not know
            account = account._replace(name=pwd.getpwuid(owner.st_uid).pw_name)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            account = account or Account(name, entry.pw_uid, entry.pw_gid)
    if account is None:
        raise EmbeddedError("Postgres refuses root, and there is no user postgres or nobody: run as an ordinary user")
    status = data_dir.stat()
    if status.st_uid == 0 and not status.st_mode & 0o077:
        # The server may pass through, not list or write: what root writes here stays root's.
        os.chown(data_dir, 0, account.gid)
        data_dir.chmod(0o710)
    return account


def remove_run(data_dir: Path) -> None:
    run = data_dir / "run"
    # A Redis whose `serve` was killed may be alive or dying. Its end is awaited: it removes its socket by name.
    say(run.resolve() / "redis.sock", b"SHUTDOWN NOSAVE")
    if run.is_symlink():
        target = run.readlink()
        if target.name.startswith("meterhouse-"):
            shutil.rmtree(target, ignore_errors=True)
        run.unlink()
    shutil.rmtree(run, ignore_errors=True)


def make_run(data_dir: Path, account: Account | None) -> Path:
    """The folder of the sockets: `run`, or a short one that `run` points to, where the path is too long for a
    socket or has a character that libpq or a URL reads otherwise."""
    remove_run(data_dir)
    run = data_dir / "run"
    if len(os.fsencode(run)) <= _SOCKET_DIR_LIMIT_BYTES and re.fullmatch(r"[\w./+-]+", str(run), re.ASCII):
        make_private(run, account)
        return run
    short = Path(tempfile.mkdtemp(prefix="meterhouse-", dir="/tmp"))
    if account:
        os.chown(short, account.uid, account.gid)
    run.symlink_to(short)
    return short


def say(path: Path, command: bytes) -> bytes:
    """One inline command to a Redis; empty when nobody answers, or when it ended before it answered."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(command + b"\r\n")
        return connection.recv(64)
    return b""
