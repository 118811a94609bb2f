"""Delivers what is due over HTTP, at least once, each at its time and in its order (Standard Webhooks).

A delivery is leased in one transaction, called outside of any, and settled in another: a worker that dies in between
leaves a lease that runs out, and the delivery is made again under the same id.
"""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import RowMapping
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meterhouse import clock
from meterhouse.outbound import Call, CallFailedError, Outbound
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.patience import is_over, next_attempt
from meterhouse.rules.signatures import read_key, sign
from meterhouse.webhooks import queue_store
from meterhouse.webhooks.lanes import Lanes
from meterhouse.webhooks.queue_store import Failed, Found

_log = logging.getLogger(__name__)

CALL_TIMEOUT_SECONDS = 15
LEASE = timedelta(seconds=60)
"""Longer than a call with its settling can take."""

LOOK_EVERY_SECONDS = 0.2
STOP_SECONDS = 5
GONE = 410


@dataclass(frozen=True, slots=True)
class _Answered:
    """How a call ended. `error` None: the receiver has it."""

    found: Found
    leased_until: datetime
    next_attempt_at: datetime | None = None
    error: str | None = None
    gone: bool = False


class Deliverer:
    """What one worker has under way. Its methods are called by one task, one after the other."""

    def __init__(self, engine: AsyncEngine, http: Outbound, fernet: Fernet) -> None:
        self._engine = engine
        self._http = http
        self._fernet = fernet
        self._lanes = Lanes()
        self._calls: set[asyncio.Task[None]] = set()
        self._answered: list[_Answered] = []

    async def deliver_due(self) -> bool:
        """Settles what was answered, begins what is due, and waits a moment for answers. Whether there may be more."""
        began = await self._settle_and_begin()
        if self._calls and not self._answered:
            await asyncio.wait(self._calls, timeout=LOOK_EVERY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return began or bool(self._calls or self._answered)

    async def close(self) -> None:
        """Begins nothing more and waits for what is under way; what takes too long is left to its lease."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=STOP_SECONDS)
        left = list(self._calls)
        for call in left:
            call.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._http.close()
        if not self._answered:
            return
        try:
            async with self._engine.begin() as connection:
                await _settle(connection, self._answered)
        except SQLAlchemyError:
            _log.warning("what was delivered last could not be noted: it will be delivered again")

    async def _settle_and_begin(self) -> bool:
        """In one transaction. When it fails, the answers are settled with the next."""
        answered = list(self._answered)
        search = self._lanes.search(monotonic())
        if search is None and not answered:
            return False
        rows: Sequence[RowMapping] = []
        put_behind = 0
        leased_until = clock.real_now() + LEASE
        async with self._engine.begin() as connection:
            await _settle(connection, answered)
            if search is not None:
                rows, put_behind = await _lease_due(connection, self._lanes, search, leased_until)
        del self._answered[: len(answered)]
        for row in rows:
            self._begin(row, leased_until)
        return bool(rows or put_behind)

    def _begin(self, row: RowMapping, leased_until: datetime) -> None:
        found = _found(row)
        self._lanes.begin(found.lane)
        call = asyncio.create_task(self._deliver(row, found, leased_until))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _deliver(self, row: RowMapping, found: Found, leased_until: datetime) -> None:
        well = False
        try:
            status, error = await self._call(row)
            well = error is None
            self._answered.append(_judge(row, _Answered(found, leased_until, error=error, gone=status == GONE)))
        except Exception:  # noqa: BLE001 - whatever one delivery does, its lease runs out and the others go on
            _log.exception("a delivery failed", extra={"fields": {"messageId": row["message_id"]}})
        finally:
            self._lanes.end(found.lane, monotonic(), well=well)

    async def _call(self, row: RowMapping) -> tuple[int | None, str | None]:
        """The status, and what went wrong."""
        try:
            keys = self._keys(row)
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                answer = await self._http.call(_request(row, keys, int(clock.real_now().timestamp())))
        except TimeoutError:
            return None, f"no answer within {CALL_TIMEOUT_SECONDS} s"
        except CallFailedError as error:
            return None, str(error)
        if answer.is_success:
            return answer.status, None
        return answer.status, f"answered {answer.status}: {answer.excerpt()}".rstrip(" :")

    def _keys(self, row: RowMapping) -> list[bytes]:
        """The newest first. Raises CallFailedError where there is none."""
        if row["encrypted_secret"] is None:
            raise CallFailedError("the signing secret was deleted: create one with the same id")
        try:
            text = self._fernet.decrypt(row["encrypted_secret"]).decode()
        except InvalidToken:
            raise CallFailedError("the secret was stored under another METERHOUSE_SECRET_KEY: replace it") from None
        if row["webhook_id"] is None:
            return [read_key(json.loads(text)["secret"])]
        keys = [read_key(text)]
        expires_at = row["previous_secret_expires_at"]
        if expires_at is not None and expires_at > clock.now():
            with contextlib.suppress(InvalidToken):  # nobody can verify with it either
                keys.append(read_key(self._fernet.decrypt(row["encrypted_previous_secret"]).decode()))
        return keys


def _found(row: RowMapping) -> Found:
    return Found(row["account_id"], row["lane_id"], row["delivery_no"])


def _request(row: RowMapping, keys: list[bytes], timestamp: int) -> Call:
    body: str = row["body"]
    if row["webhook_id"] is not None:
        recorded_at = format_milliseconds(row["recorded_at"])
        body = f'{{"type":"meter.{row["kind"]}","timestamp":"{recorded_at}","data":{row["record"]}}}'
    content = body.encode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": row["message_id"],
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(keys, row["message_id"], timestamp, content),
    }
    return Call("POST", row["url"], headers, content)


def _judge(row: RowMapping, answered: _Answered) -> _Answered:
    """What becomes of a delivery that failed: the next attempt, or a rest until a person asks for it."""
    if answered.error is None:
        return answered
    now = clock.now()
    parked = answered.gone or is_over(row["first_attempt_at"] or now, now)
    again = None if parked else next_attempt(row["attempts"] + 1, now, random.random())  # noqa: S311 - no secret
    return _Answered(answered.found, answered.leased_until, again, answered.error, answered.gone)


async def _settle(connection: AsyncConnection, answered: Sequence[_Answered]) -> None:
    if not answered:
        return
    now = clock.now()
    in_order = sorted(answered, key=lambda one: (one.found.account_id, one.found.delivery_no))
    await queue_store.disable(connection, [one.found.lane for one in in_order if one.gone], now)
    keys = await queue_store.delete_delivered(connection, [one.found for one in in_order if one.error is None])
    failed = [
        Failed(one.found, one.leased_until, one.next_attempt_at, one.error) for one in in_order if one.error is not None
    ]
    keys += await queue_store.postpone_failed(connection, failed)
    await queue_store.wake(connection, keys, now)


async def _lease_due(
    connection: AsyncConnection, lanes: Lanes, search: queue_store.Search, leased_until: datetime
) -> tuple[list[RowMapping], int]:
    """What is to be called, and how many have turned out to be behind others."""
    now = clock.now()
    found = await queue_store.find_due(connection, search, now, clock.real_now())
    chosen = lanes.choose(found, search)
    if not chosen:
        return [], 0
    rows = await queue_store.read_found(connection, chosen)
    put_behind = await queue_store.put_behind(connection, [row for row in rows if row["is_behind"]])
    heads = [row for row in rows if not row["is_behind"]]
    await queue_store.lease(connection, [_found(row) for row in heads], now, leased_until)
    return heads, put_behind
