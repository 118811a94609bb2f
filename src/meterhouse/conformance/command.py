"""`meterhouse conformance`: the contract against any running server."""

import argparse
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import httpx

from meterhouse.conformance.arguments import WALKS
from meterhouse.conformance.bucket_meters import walk_bucket_meters
from meterhouse.conformance.buckets import delete_bucket, walk_buckets
from meterhouse.conformance.collectors import walk_collectors
from meterhouse.conformance.events import walk_events
from meterhouse.conformance.meter_types import walk_meter_types
from meterhouse.conformance.meters import walk_meters
from meterhouse.conformance.report import Report, Rule
from meterhouse.conformance.streams import walk_streams
from meterhouse.conformance.target import Application, Given, Target, read_target
from meterhouse.conformance.tokens import walk_tokens
from meterhouse.conformance.usage import walk_usage
from meterhouse.conformance.walk import StopWalkError, Walk
from meterhouse.settings import Settings

_TIMEOUT_SECONDS = 30


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """The exit code."""
    given = Given(
        arguments.base_url or settings.audience,
        arguments.client_id,
        arguments.client_secret,
        arguments.audience,
        arguments.api_key,
        arguments.bucket,
    )
    default = settings.data_dir / "credentials.json"
    credentials = arguments.credentials or (default if default.is_file() else None)
    report = check_conformance(read_target(given, credentials), arguments.only or WALKS)
    print(json.dumps(report.as_json(), indent=2) if arguments.json else report.as_table())  # noqa: T201 - the result
    return 0 if report.conforms else 1


def check_conformance(target: Target, only: tuple[str, ...] | list[str] = WALKS) -> Report:
    """Walks through both dialects as far as there are credentials for them, and cleans up."""
    report = Report()
    mark = secrets.token_hex(4)
    if target.application is not None:
        _usage_engine(target, target.application, report, mark, only)
    if target.api_key is not None:
        _buckets(target, target.api_key, report, mark, only)
    return report


@contextmanager
def _walking(target: Target, report: Report, mark: str, token: str | None) -> Iterator[Walk]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=target.base_url, headers=headers, timeout=_TIMEOUT_SECONDS) as http:
        walk = Walk(http, report, mark)
        try:
            yield walk
        finally:
            _going_on(report, "(cleaning up)", walk.clean_up)


def _going_on(report: Report, name: str, part: Callable[[], object]) -> None:
    """One part that cannot be walked to its end does not stop the others."""
    try:
        part()
    except (StopWalkError, httpx.HTTPError) as error:
        rule = Rule(name, "the rest of this part could not be checked", "what came before it")
        report.add(rule, "fail", "", f"{type(error).__name__}: {error}")


def _usage_engine(
    target: Target, application: Application, report: Report, mark: str, only: tuple[str, ...] | list[str]
) -> None:
    token = ""

    def sign_in() -> None:
        nonlocal token
        with _walking(target, report, mark, None) as walk:
            token = walk_tokens(walk, application)

    _going_on(report, "create_access_token", sign_in)
    if not token:
        return
    parts: dict[str, Callable[[Walk], object]] = {
        "meter-types": walk_meter_types,
        "meters": walk_meters,
        "collectors": walk_collectors,
        "streams": partial(walk_streams, deployed=target.stream),
    }
    for name, part in parts.items():
        if name in only:
            with _walking(target, report, mark, token) as walk:
                _going_on(report, name, partial(part, walk))


def _buckets(target: Target, api_key: str, report: Report, mark: str, only: tuple[str, ...] | list[str]) -> None:
    parts = {"bucket-meters": walk_bucket_meters, "events": walk_events, "usage": walk_usage}
    if not parts.keys() & set(only):
        return
    with _walking(target, report, mark, api_key) as walk:

        def within() -> None:
            mounts = walk_buckets(walk, target.bucket_id)
            for mount in mounts:
                for name, part in parts.items():
                    if name in only:
                        _going_on(report, f"{name}, {mount.dialect}", partial(part, walk, mount))
            delete_bucket(walk, mounts)

        _going_on(report, "buckets", within)
