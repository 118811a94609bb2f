"""Ends periods that are over: the worker's part of it, which makes resets punctual (rules/closing makes them right)."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meterhouse.metered_records.store import add_records
from meterhouse.meters.usage import (
    claim_due_meter,
    claim_due_meters,
    delete_meters,
    postpone_meter,
    write_meters,
)
from meterhouse.rules.closing import MAX_AT_ONCE, CannotCloseError, Missed, Sent, close_due
from meterhouse.rules.usage import Meter

_log = logging.getLogger(__name__)

BATCH = 500
RECORDS = 2_000
"""About as many periods end in one transaction: it stays short, and the worker's other work gets its turns."""

POSTPONED = timedelta(minutes=5)
"""How long a meter rests whose period cannot be closed."""

# What one meter's content can make the database refuse; all else is the database's own trouble, and passes.
_REFUSED = (DataError, IntegrityError, ProgrammingError)


@dataclass(frozen=True, slots=True)
class Policy:
    """`periods`: of each meter, how many may end in this transaction."""

    now: datetime
    missed: Missed
    periods: int = MAX_AT_ONCE


async def close_due_meters(engine: AsyncEngine, now: datetime, missed: Missed) -> bool:
    """One batch, one transaction. Whether there may be more to close."""
    due: list[tuple[UUID, Meter]] = []
    more = False
    try:
        async with engine.begin() as connection:
            due = await claim_due_meters(connection, now, BATCH)
            by_account: defaultdict[UUID, list[Meter]] = defaultdict(list)
            for account_id, meter in due:
                by_account[account_id].append(meter)
            # In one order, since each account's outbox is locked to the end of the transaction.
            for account_id in sorted(by_account):
                policy = Policy(now, missed, max(RECORDS // len(due), 1))
                more = await _close(connection, account_id, by_account[account_id], policy) or more
    except _REFUSED:
        _log.warning("a batch of periods was refused: its meters are closed one by one")
        for account_id, meter in due:
            await _close_alone(engine, account_id, meter.id, Policy(now, missed))
    return more or len(due) == BATCH


async def _close(connection: AsyncConnection, account_id: UUID, meters: Sequence[Meter], policy: Policy) -> bool:
    """Whether some of the meters have more periods to close."""
    now, more = policy.now, False
    sent: list[Sent] = []
    kept, ended = [], []
    for meter in meters:
        try:
            closing = close_due(meter, now, policy.missed, min(policy.periods, MAX_AT_ONCE))
        except CannotCloseError as error:
            await _postpone(connection, account_id, meter.id, str(error), now)
            continue
        sent += closing.sent
        more = more or closing.more
        if closing.meter_ends:
            ended.append(meter.id)
        else:
            kept.append(meter)
    await write_meters(connection, account_id, kept)
    await delete_meters(connection, account_id, ended)
    await add_records(connection, account_id, sent, now, awaits_stream=True)
    return more


async def _close_alone(engine: AsyncEngine, account_id: UUID, meter_id: UUID, policy: Policy) -> None:
    now = policy.now
    try:
        async with engine.begin() as connection:
            meter = await claim_due_meter(connection, account_id, meter_id, now)
            if meter is not None:
                await _close(connection, account_id, [meter], policy)
    except _REFUSED as error:
        async with engine.begin() as connection:
            await _postpone(connection, account_id, meter_id, str(error.orig), now)


async def _postpone(connection: AsyncConnection, account_id: UUID, meter_id: UUID, error: str, now: datetime) -> None:
    _log.error("a period cannot be closed: %s", error, extra={"fields": {"meterId": str(meter_id)}})
    await postpone_meter(connection, account_id, meter_id, error, now + POSTPONED)
