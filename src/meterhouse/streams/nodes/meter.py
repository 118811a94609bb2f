"""transforms/meter, the Meter processor: usage moves meters (reference: usage engine 2)."""

from collections.abc import Sequence
from typing import ClassVar

from meterhouse import clock
from meterhouse.meters.usage import delete_meters, lock_meters, write_meters
from meterhouse.rules.guiding import GuidingError, Rule, UnusableRecordError, Usage, parse_rules, read_usage
from meterhouse.rules.usage import Meter, apply, close_period, threshold_record
from meterhouse.streams.function import Node, Record, Step, StreamError


class MeterProcessor:
    type: ClassVar[str] = "transforms/meter"

    def __init__(self, node: Node) -> None:
        self._meter_key: str = node.params["meterKey"]
        try:
            self._rules = parse_rules(node.params)
        except GuidingError as error:
            raise StreamError(f"{node.name}: {error}") from None
        outputs = (node.params.get("multiOutput") or {}).get("fixed") or {}
        self._reset: str | None = (outputs.get("reset") or {}).get("id")
        self._threshold: str | None = (outputs.get("threshold") or {}).get("id")

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
        await self._close_due(locked, step)
        by_user: dict[str, list[Meter]] = {}
        for meter in locked:
            by_user.setdefault(meter.user_id, []).append(meter)
        for record, usage in usages:
            self._meter(record, usage, by_user.get(usage.user_id, []), step)
        await write_meters(step.connection, step.account_id, [meter for meter in locked if meter.changed])

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
                if self._threshold is not None:
                    step.emit(Record(reached), self._threshold)

    def _find(self, record: Record, meters: Sequence[Meter]) -> tuple[Rule | None, list[Meter]]:
        """The first rule that holds and finds meters in its category ends the search."""
        for rule in self._rules:
            if rule.holds(record.payload):
                found = [meter for meter in meters if meter.category == rule.category]
                if found:
                    return rule, found
        return None, []

    async def _close_due(self, meters: list[Meter], step: Step) -> None:
        """Usage never lands in a period that has ended, whether or not the worker has come by."""
        ended = []
        for meter in meters:
            while meter.period_end <= step.now:
                record = close_period(meter, step.now)
                if self._reset is not None:
                    step.emit(Record(record), self._reset)
                if meter.delete_on_reset:
                    ended.append(meter)
                    break
        if ended:
            await delete_meters(step.connection, step.account_id, [meter.id for meter in ended])
            meters[:] = [meter for meter in meters if meter not in ended]

    async def flush(self, step: Step, *, final: bool) -> None:
        """Periods end by the worker's clock, or with the next usage."""
