"""transforms/meter, the Meter processor: usage moves meters (reference: usage engine 2)."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from meterhouse import clock
from meterhouse.metered_records.store import take_awaiting, take_awaiting_of
from meterhouse.meters.usage import delete_meters, lock_meters, lock_meters_of_key, write_meters
from meterhouse.rules.closing import CannotCloseError, Closing, Sent, close_due, close_now
from meterhouse.rules.guiding import GuidingError, Rule, UnusableRecordError, Usage, parse_rules, read_usage
from meterhouse.rules.usage import Meter, apply, threshold_record
from meterhouse.streams.function import Node, Record, Step, StreamError, TryAgainError

BY_EXECUTION = "STREAM_END"
"""The flushType that ends the periods of all meters with the run; all others leave it to the schedule."""

METERS_AT_ONCE = 1_000


class PeriodsBehindError(TryAgainError):
    """A meter has more missed periods than one transaction closes. The step is tried again when the worker has."""


class MeterProcessor:
    """It also reads: what the worker has closed since the last step goes on through the output for resets."""

    type: ClassVar[str] = "transforms/meter"
    reads = True

    def __init__(self, node: Node) -> None:
        self._meter_key: str = node.params["meterKey"]
        try:
            self._rules = parse_rules(node.params)
        except GuidingError as error:
            raise StreamError(f"{node.name}: {error}") from None
        outputs = (node.params.get("multiOutput") or {}).get("fixed") or {}
        self._reset: str | None = (outputs.get("reset") or {}).get("id")
        self._threshold: str | None = (outputs.get("threshold") or {}).get("id")
        self._by_execution = node.params.get("flushType") == BY_EXECUTION

    async def read(self, step: Step, limit: int) -> bool:
        records = await take_awaiting(step.connection, step.account_id, self._meter_key, limit)
        self._emit(records, self._reset, step)
        return len(records) == limit

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        """Each meter is read and written once a slice, however many records it has."""
        usages: list[tuple[Record, Usage]] = []
        for record in records:
            try:
                usages.append((record, read_usage(record.payload, clock.now())))
            except UnusableRecordError as error:
                step.reject(record, str(error))
        users = {usage.user_id for _, usage in usages}
        locked = await lock_meters(step.connection, step.account_id, self._meter_key, users) if users else []
        by_user, broken = await self._close_due(locked, step)
        for record, usage in usages:
            if usage.user_id in broken:
                step.reject(record, broken[usage.user_id])
            else:
                self._meter(record, usage, by_user.get(usage.user_id, []), step)
        changed = [meter for meters in by_user.values() for meter in meters if meter.changed]
        for meter in changed:
            meter.updated_at = step.now
        await write_meters(step.connection, step.account_id, changed)

    def _meter(self, record: Record, usage: Usage, meters: Sequence[Meter], step: Step) -> None:
        rule, found = self._find(record, meters)
        if rule is None:
            step.reject(record, f"no guiding rule finds a meter of the user {usage.user_id!r}")
            return
        try:
            rule.require_shallow(record.payload)
        except UnusableRecordError as error:
            step.reject(record, str(error))
            return
        active = [meter for meter in found if meter.is_active(usage.at)]
        if not active:
            step.reject(record, f"the meter type was not active at {usage.at.isoformat()}")
        for meter in active:
            for threshold in apply(meter, rule, usage, record.payload):
                reached = threshold_record(meter, threshold, clock.now())
                self._send([Sent(meter, meter.period_start, reached)], self._threshold, step)

    def _find(self, record: Record, meters: Sequence[Meter]) -> tuple[Rule | None, list[Meter]]:
        """The first rule that holds and finds meters in its category ends the search."""
        for rule in self._rules:
            if rule.holds(record.payload):
                found = [meter for meter in meters if meter.category == rule.category]
                if found:
                    return rule, found
        return None, []

    async def _close_due(self, meters: Iterable[Meter], step: Step) -> tuple[dict[str, list[Meter]], dict[str, str]]:
        """Usage never lands in a period that has ended, whether or not the worker has come by.

        The meters by user, and the users of whom one meter's period cannot be ended, with the reason.
        """
        by_user: dict[str, list[Meter]] = {}
        broken: dict[str, str] = {}
        closings: list[tuple[Meter, Closing]] = []
        for meter in meters:
            try:
                closings.append((meter, _close(meter, step)))
            except CannotCloseError as error:
                broken[meter.user_id] = f"the period of the meter {meter.id} cannot be ended: {error}"
        # Nobody else can close these meters now: what was closed before goes out before what they send here.
        await self._take(closings, step)
        for meter, closing in closings:
            self._send(closing.sent, self._reset, step)
            if not closing.meter_ends:
                by_user.setdefault(meter.user_id, []).append(meter)
        await self._delete(closings, step)
        return by_user, broken

    async def _take(self, closings: Iterable[tuple[Meter, Closing]], step: Step) -> None:
        if ids := [meter.id for meter, _ in closings]:
            records = await take_awaiting_of(step.connection, step.account_id, self._meter_key, ids)
            self._emit(records, self._reset, step)

    async def _delete(self, closings: Iterable[tuple[Meter, Closing]], step: Step) -> None:
        ended = [meter.id for meter, closing in closings if closing.meter_ends]
        await delete_meters(step.connection, step.account_id, ended)

    def _send(self, sent: Sequence[Sent], output: str | None, step: Step) -> None:
        step.sent += sent
        self._emit([one.record for one in sent], output, step)

    def _emit(self, records: Iterable[dict[str, Any]], output: str | None, step: Step) -> None:
        if output is not None:
            for record in records:
                step.emit(Record(record), output)

    async def flush(self, step: Step, *, final: bool) -> None:
        """Periods end by the worker's clock or with the next usage; flushed by execution, with the run."""
        if not (final and self._by_execution):
            return
        meters = await lock_meters_of_key(step.connection, step.account_id, self._meter_key, None, METERS_AT_ONCE)
        while meters:
            await self._close_now(meters, step)
            last = meters[-1].id
            meters = await lock_meters_of_key(step.connection, step.account_id, self._meter_key, last, METERS_AT_ONCE)

    async def _close_now(self, meters: Sequence[Meter], step: Step) -> None:
        """What cannot be closed waits: the worker reports it."""
        closings: list[tuple[Meter, Closing]] = []
        for meter in meters:
            try:
                closing = _close(meter, step)
                if not closing.meter_ends:
                    flushed = close_now(meter, step.now)
                    closing = Closing(closing.sent + flushed.sent, flushed.meter_ends)
            except CannotCloseError as error:
                step.log.append(("error", f"the period of the meter {meter.id} cannot be ended: {error}"))
            else:
                closings.append((meter, closing))
        await self._take(closings, step)
        for _, closing in closings:
            self._send(closing.sent, self._reset, step)
        await self._delete(closings, step)
        kept = [meter for meter, closing in closings if not closing.meter_ends]
        await write_meters(step.connection, step.account_id, kept)


def _close(meter: Meter, step: Step) -> Closing:
    """CannotCloseError, PeriodsBehindError."""
    assert step.services is not None, "a worker brings them"
    closing = close_due(meter, step.now, step.services.missed)
    if closing.more:
        raise PeriodsBehindError(f"the meter {meter.id} has too many periods to end at once")
    return closing
