"""The operator's commands on the command line: their arguments, their database and their output."""

import argparse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

from meterhouse import clock, embedded
from meterhouse.access import administration, store
from meterhouse.access.administration import Command, Result, Work
from meterhouse.database import make_engine, migrate, require_current_schema
from meterhouse.settings import Settings, SettingsError

_MAX_OVERLAP_HOURS = 24 * 365

# --- where the database is ---------------------------------------------------------------------------------------


@contextmanager
def _database_url(settings: Settings) -> Iterator[str]:
    """The one that is set, or that of the server running in the data directory, or one started for this command."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    if servers := embedded.running(settings.data_dir):
        if servers.database_url is None:
            raise SettingsError(f"METERHOUSE_DATABASE_URL: set it; the server in {settings.data_dir} has one elsewhere")
        yield servers.database_url
        return
    with (
        embedded.lock(settings.data_dir),
        embedded.start(settings.data_dir, postgres=True, redis=False) as own,
    ):
        assert own.database_url is not None
        migrate(own.database_url)
        yield own.database_url


@asynccontextmanager
async def _working(arguments: argparse.Namespace, settings: Settings) -> AsyncIterator[Work]:
    with _database_url(settings) as url:
        engine = make_engine(url, pool_size=2)
        try:
            await require_current_schema(engine)
            async with engine.begin() as connection:
                yield Work(arguments, settings, connection, clock.real_now())
        finally:
            await engine.dispose()


# --- arguments ---------------------------------------------------------------------------------------------------


def add_commands(subparsers: Any) -> None:
    """Each parsed command has `run(namespace, settings)`, a coroutine function that gives what to print."""
    _add_accounts(subparsers.add_parser("accounts", help="tenants: everything belongs to one"))
    applications = subparsers.add_parser("applications", help="OAuth clients, which exchange a secret for tokens")
    _add_clients(applications, store.APPLICATION, administration.create_application)
    api_keys = subparsers.add_parser("api-keys", help="keys for events and usage, of an account or of one bucket")
    create_key = _add_clients(api_keys, store.API_KEY, administration.create_api_key)
    create_key.add_argument("--bucket", metavar="BUCKET_ID", help="open this bucket alone")
    _add_buckets(subparsers.add_parser("buckets", help="where events are kept and counted"))
    signing_keys = _actions(subparsers.add_parser("signing-keys", help="what signs access tokens"))
    _add(signing_keys, "list", administration.list_signing_keys)
    _add(signing_keys, "rotate", administration.rotate_signing_key)


def _actions(parser: argparse.ArgumentParser) -> Any:
    return parser.add_subparsers(required=True, metavar="action")


def _add(actions: Any, name: str, command: Command) -> argparse.ArgumentParser:
    async def run(arguments: argparse.Namespace, settings: Settings) -> Result:
        async with _working(arguments, settings) as work:
            return await command(work)

    parser: argparse.ArgumentParser = actions.add_parser(name)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)
    return parser


def _add_accounts(parser: argparse.ArgumentParser) -> None:
    actions = _actions(parser)
    _add(actions, "create", administration.create_account).add_argument("--name", required=True)
    _add(actions, "list", administration.list_accounts)
    _add(actions, "revoke", administration.revoke_account).add_argument("id", metavar="ACCOUNT_ID", type=UUID)


def _add_clients(parser: argparse.ArgumentParser, kind: str, create: Command) -> argparse.ArgumentParser:
    """Returns the parser of `create`."""
    actions = _actions(parser)
    metavar = "CLIENT_ID" if kind == store.APPLICATION else "KEY_ID"
    creating = _add(actions, "create", create)
    _add_account(creating)
    creating.add_argument("--name", required=True)
    creating.add_argument("--scopes", help="separated by spaces; default: all that it can have")
    _add_account(_add(actions, "list", administration.list_clients(kind)))
    _add(actions, "revoke", administration.revoke_client(kind)).add_argument("id", metavar=metavar)
    rotating = _add(actions, "rotate", administration.rotate_client(kind))
    rotating.add_argument("id", metavar=metavar)
    rotating.add_argument("--overlap-hours", type=_hours, default=24.0, help="how long the old secret still works")
    return creating


def _add_buckets(parser: argparse.ArgumentParser) -> None:
    actions = _actions(parser)
    creating = _add(actions, "create", administration.create_bucket)
    _add_account(creating)
    creating.add_argument("--name")
    _add_account(_add(actions, "list", administration.list_buckets))
    _add(actions, "revoke", administration.revoke_bucket).add_argument("id", metavar="BUCKET_ID")


def _add_account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", metavar="ACCOUNT_ID", type=UUID)


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 <= hours <= _MAX_OVERLAP_HOURS:
        raise argparse.ArgumentTypeError(f"must be between 0 and {_MAX_OVERLAP_HOURS}")
    return hours


# --- output ------------------------------------------------------------------------------------------------------


def as_table(result: Result) -> str:
    """For people: a list as columns, one thing as `member  value` lines."""
    if isinstance(result, dict):
        return _columns([[member, _cell(value)] for member, value in result.items()])
    if not result:
        return "none"
    members = list(result[0])
    return _columns([members, *([_cell(row[member]) for member in members] for row in result)])


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "-" if value is None else str(value)


def _columns(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in padded)
