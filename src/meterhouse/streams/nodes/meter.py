"""transforms/meter, the Meter processor: usage moves meters (reference: usage engine 2)."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from meterhouse import clock
from meterhouse.metered_records.store import take_awaiting
from meterhouse.meters.usage import delete_meters, lock_meters, lock_meters_of_key, write_meters
from meterhouse.rules.closing import Closing, Sent, close_due, close_now
from meterhouse.rules.guiding import GuidingError, Rule, UnusableRecordError, Usage, parse_rules, read_usage
from meterhouse.rules.usage import Meter, apply, threshold_record
from meterhouse.streams.function import Node, Record, Step, StreamError

BY_EXECUTION = "STREAM_END"
"""The flushType that ends the periods of all meters with the run; all others leave it to the schedule."""

METERS_AT_ONCE = 1_000


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
        if self._reset is not None:
            for record in records:
                step.emit(Record(record), self._reset)
        return len(records) == limit

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        """Each meter is read and written once a slice, however many records it has."""
        usages: list[tuple[Record, Usage]] = []
        for record in records:
            try:
                usages.append((record, read_usage(record.payload, clock.now())))
            except UnusableRecordError as error:
                step.reject(record, str(error))
        if not usages:
            return
        users = {usage.user_id for _, usage in usages}
        locked = await lock_meters(step.connection, step.account_id, self._meter_key, users)
        # Nobody can close these meters now: what was closed before goes out before what they send here.
        while await self.read(step, METERS_AT_ONCE):
            pass
        by_user, broken = await self._close_due(locked, step)
        for record, usage in usages:
            if usage.user_id in broken:
                step.reject(record, broken[usage.user_id])
            else:
                self._meter(record, usage, by_user.get(usage.user_id, []), step)
        changed = [meter for meters in by_user.values() for meter in meters if meter.changed]
        await write_meters(step.connection, step.account_id, changed)

    def _meter(self, record: Record, usage: Usage, meters: Sequence[Meter], step: Step) -> None:
        rule, found = self._find(record, meters)
        if rule is None:
            step.reject(record, f"no guiding rule finds a meter of the user {usage.user_id!r}")
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
        assert step.services is not None, "a worker brings them"
        by_user: dict[str, list[Meter]] = {}
        broken: dict[str, str] = {}
        ended = []
        for meter in meters:
            try:
                closing = close_due(meter, step.now, step.services.missed)
            except (ValueError, TypeError) as error:
                broken[meter.user_id] = f"the period of the meter {meter.id} cannot be ended: {error}"
                continue
            if closing.more:
                broken[meter.user_id] = f"the meter {meter.id} has too many periods to end first: requeue it later"
            self._send(closing.sent, self._reset, step)
            if closing.meter_ends:
                ended.append(meter.id)
            else:
                by_user.setdefault(meter.user_id, []).append(meter)
        await delete_meters(step.connection, step.account_id, ended)
        return by_user, broken

    def _send(self, sent: Sequence[Sent], output: str | None, step: Step) -> None:
        step.sent += sent
        if output is not None:
            for one in sent:
                step.emit(Record(one.record), output)

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
        assert step.services is not None, "a worker brings them"
        kept: list[Meter] = []
        ended: list[Meter] = []
        for meter in meters:
            closings: list[Closing] = [close_due(meter, step.now, step.services.missed)]
            if not closings[0].meter_ends:
                closings.append(close_now(meter, step.now))
            for closing in closings:
                self._send(closing.sent, self._reset, step)
            (ended if any(closing.meter_ends for closing in closings) else kept).append(meter)
        await delete_meters(step.connection, step.account_id, [meter.id for meter in ended])
        await write_meters(step.connection, step.account_id, kept)
