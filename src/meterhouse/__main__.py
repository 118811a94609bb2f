"""The command line: serve, or its parts alone, and the operator's commands."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable

import msgspec
from sqlalchemy.exc import OperationalError

from meterhouse import logs
from meterhouse.access.commands import add_commands, as_table
from meterhouse.conformance import arguments as conformance
from meterhouse.database import SchemaNotCurrentError
from meterhouse.embedded import EmbeddedError
from meterhouse.errors import MeterhouseError, StartError
from meterhouse.settings import Settings, SettingsError, read_settings
from meterhouse.verify import NoExportError, verify_files


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    # SIGTERM unwinds like Ctrl-C, so that what was started is stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = make_parser().parse_args()
    if "files" in arguments:
        sys.exit(_verify(arguments.files))
    try:
        settings = read_settings(os.environ)
        if arguments.part is not None:
            arguments.part(settings, arguments)
        else:
            _print(asyncio.run(arguments.run(arguments, settings)), as_json=arguments.json)
    except (SettingsError, EmbeddedError, SchemaNotCurrentError, StartError, MeterhouseError) as error:
        print(f"meterhouse: {error}", file=sys.stderr)
        sys.exit(1)
    except OperationalError as error:
        print(f"meterhouse: the database: {str(error.orig).partition(chr(10))[0]}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meterhouse", description="A self-hosted usage-metering server.")
    subparsers = parser.add_subparsers(metavar="command", required=True)
    add_commands(subparsers)
    parts: dict[str, tuple[Callable[[Settings, argparse.Namespace], None], str]] = {
        "serve": (_serve, "run everything: API, worker and, unless URLs are set, Postgres and Redis"),
        "api": (_api, "run the API alone, on METERHOUSE_DATABASE_URL and METERHOUSE_REDIS_URL"),
        "worker": (_worker, "run the worker alone"),
        "migrate": (_migrate, "bring the database schema to this version"),
        "conformance": (
            _conformance,
            "check the contract of a running server; exit code 1 if something is not as it should be",
        ),
    }
    added = {}
    for name, (part, text) in parts.items():
        added[name] = subparsers.add_parser(name, help=text, description=text)
        added[name].set_defaults(part=part)
    added["worker"].add_argument("--stop-with-parent", action="store_true", help=argparse.SUPPRESS)
    added["migrate"].add_argument(
        "--first-account",
        action="store_true",
        help="where there is no account yet, make the first and keep its credentials in the data directory",
    )
    conformance.add_arguments(added["conformance"])
    parser.set_defaults(part=None)
    text = "recompute the hashes of exported periods; no server is asked"
    verifying = subparsers.add_parser("verify", help=text, description=text)
    verifying.add_argument("files", nargs="+", metavar="FILE", help="answers of the periods endpoint, or - for stdin")
    return parser


def _verify(files: list[str]) -> int:
    """0 when all periods are right, 1 when one is not, 2 when a file is no export. Reads no settings."""
    try:
        lines, right = verify_files(files)
    except NoExportError as error:
        print(f"meterhouse: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0 if right else 1


def _print(result: object, *, as_json: bool) -> None:
    print(msgspec.json.encode(result).decode() if as_json else as_table(result))  # type: ignore[arg-type]


def _serve(settings: Settings, _: argparse.Namespace) -> None:
    from meterhouse.serve import serve

    serve(settings)


def _api(settings: Settings, _: argparse.Namespace) -> None:
    from meterhouse.serve import run_api

    logs.set_up_logs(settings.log_level)
    run_api(settings)


def _worker(settings: Settings, arguments: argparse.Namespace) -> None:
    from meterhouse.worker.loop import work

    logs.set_up_logs(settings.log_level)
    asyncio.run(work(settings, stop_with_parent=arguments.stop_with_parent))


def _conformance(settings: Settings, arguments: argparse.Namespace) -> None:
    from meterhouse.conformance.command import run

    sys.exit(run(settings, arguments))


def _migrate(settings: Settings, arguments: argparse.Namespace) -> None:
    from meterhouse.database import migrate
    from meterhouse.first_start import credentials_path, start_first

    if settings.database_url is None:
        raise SettingsError("METERHOUSE_DATABASE_URL: is not set; `meterhouse serve` migrates its own database")
    migrate(settings.database_url)
    print("The schema is current.")
    if arguments.first_account:
        # Not the credentials themselves: what is printed here ends in the logs of whatever runs it.
        made = asyncio.run(start_first(settings))
        path = credentials_path(settings).absolute()
        print(f"First start: the credentials of the first account are in {path}" if made else "There is an account.")


if __name__ == "__main__":
    main()
