"""`meterhouse serve`: Postgres, Redis, schema, first credentials, worker and API, started and stopped together."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import uvicorn

from meterhouse import embedded, logs
from meterhouse.app import create_app
from meterhouse.database import migrate
from meterhouse.errors import StartError
from meterhouse.first_start import Credentials, credentials_path, start_first
from meterhouse.settings import Settings, SettingsError

WORKER_STOP_SECONDS = 20
_BACKLOG = 2048


def _why(refused: Exception | None) -> str:
    return str(refused).partition("\n")[0] if refused else "the server did not start"


def serve(settings: Settings) -> None:
    listener = _listen(settings)
    with embedded.lock(settings.data_dir), _servers(settings) as running:
        assert running.database_url is not None, "given or started"
        migrate(running.database_url)
        credentials = asyncio.run(start_first(running))
        logs.set_up_logs(running.log_level)
        _greet(running, credentials)
        with _worker(running):
            run_api(running, listener)


def run_api(settings: Settings, listener: socket.socket | None = None) -> None:
    """Serves until SIGINT or SIGTERM; requests that are under way are answered first."""
    listener = listener or _listen(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        lifespan="on",
        timeout_graceful_shutdown=15,
        timeout_keep_alive=75,
    )
    server = uvicorn.Server(config)
    # SystemExit is how uvicorn says that the application did not start; the signal that stopped it comes again.
    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise StartError(_why(app.state.refused)) from app.state.refused


def _listen(settings: Settings) -> socket.socket:
    """First of all, so that a used port is told before anything is started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"METERHOUSE_HOST, METERHOUSE_PORT: cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error
    return listener


@contextlib.contextmanager
def _servers(settings: Settings) -> Iterator[Settings]:
    """The settings with the URLs of what is running: those that were set, the private servers' for the others."""
    with embedded.start(
        settings.data_dir, postgres=settings.database_url is None, redis=settings.redis_url is None
    ) as own:
        urls = {
            "database_url": settings.database_url or own.database_url,
            "redis_url": settings.redis_url or own.redis_url,
        }
        yield settings.model_copy(update=urls)


@contextlib.contextmanager
def _worker(settings: Settings) -> Iterator[None]:
    """The worker, in a process of its own; started again if it dies."""
    assert settings.database_url is not None
    environment = {name: value for name, value in os.environ.items() if name != "METERHOUSE_DATABASE_URL_FILE"}
    environment["METERHOUSE_DATABASE_URL"] = settings.database_url
    command = [sys.executable, "-m", "meterhouse", "worker", "--stop-with-parent"]
    stopping = threading.Event()
    process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603 - our own program

    def watch() -> None:
        nonlocal process
        while not stopping.wait(1):
            if process.poll() is not None:
                process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603

    watcher = threading.Thread(target=watch, name="worker watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopping.set()
        watcher.join()
        process.terminate()
        try:
            process.wait(WORKER_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _greet(settings: Settings, credentials: Credentials | None) -> None:
    base_url = settings.audience.rstrip("/")
    lines = [f"Meterhouse serves {base_url} from {settings.data_dir.resolve()} (Ctrl-C stops it)."]
    if credentials is not None:
        lines += [
            "",
            f"First start: these are shown once, and kept in {credentials_path(settings)}",
            *(f"  {name:<13} {value}" for name, value in credentials.as_json().items()),
            "",
            "Make a meter, send an event, see it counted:",
            *_first_steps(base_url, credentials.account.api_key),
            "",
        ]
    print("\n".join(lines), flush=True)  # noqa: T201 - for the person at the terminal


def _first_steps(base_url: str, api_key: str) -> list[str]:
    """Lines to paste: a meter, an event, and the meter's value."""
    call = f"curl -sS -H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json' {base_url}/api/v1"
    meter = '{"slug":"first_light","aggregation":"SUM","eventType":"request","valueProperty":"$.tokens"}'
    event = '{"specversion":"1.0","id":"1","source":"me","type":"request","subject":"you","data":{"tokens":42}}'
    return [
        f"  {call}/meters -d '{meter}'",
        f"  {call}/events -d '{event}'",
        f"  {call}/meters/first_light/query",
    ]
