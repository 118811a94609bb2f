"""Usage of a bucket's meters, on one of its mounts: what is sent is in the next answer."""

import csv
import io
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx

from meterhouse.conformance.bucket_meters import create_meter, refusal
from meterhouse.conformance.buckets import Mount
from meterhouse.conformance.events import make_event, send
from meterhouse.conformance.expect import INSTANT, Like, Only
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, Walk

EXACT = Decimal("1000000000000000000000.5")
RANGE = {"from": "2024-03-30T00:00:00Z", "to": "2024-04-02T00:00:00Z"}
QUERY = "query_bucket_meter"


def at(instant: str) -> Like:
    """The same instant, in whichever zone it is written."""
    moment = datetime.fromisoformat(instant)

    def holds(text: Any) -> bool:
        return INSTANT.holds(text) and datetime.fromisoformat(text) == moment

    return Like(instant, holds)


def row(value: Any, start: str, end: str, **more: Any) -> dict[str, Any]:
    return {"value": value, "windowStart": at(start), "windowEnd": at(end), "subject": None, "groupBy": {}} | more


def rows(*expected: dict[str, Any], **echoed: Any) -> Answer:
    return Answer(200, Only(echoed | {"data": list(expected)}))


def walk_usage(walk: Walk, mount: Mount) -> None:
    mark = f"{walk.mark}.{mount.dialect.lower()}.usage"
    slug = f"conformance_{walk.mark}_{mount.dialect.lower()}_usage"
    meter: dict[str, Any] = {
        "slug": slug,
        "aggregation": "SUM",
        "eventType": f"conformance.{mark}",
        "valueProperty": "$.tokens",
    }
    meter |= {"groupBy": {"model": "$.model"}}
    rule = Rule("create_bucket_meter", f"{mount.dialect}: to be queried", f"{mount.dialect}, Create meter")
    create_meter(walk, mount, rule, meter, meter)
    counter = {"slug": f"{slug}_count", "aggregation": "COUNT", "eventType": meter["eventType"]}
    create_meter(walk, mount, rule, counter, counter)
    sent = send(walk, mount, _events(mark))
    walk.note(
        Rule("ingest_events", f"{mount.dialect}: to be counted", f"{mount.dialect}, events"),
        [] if sent.is_success else [sent.text],
        "2xx",
        str(sent.status_code),
    )

    asking = _Asking(walk, mount, slug)
    _totals(asking)
    _windows(asking)
    _groups_and_filters(asking)
    _refusals(asking)
    _values(asking)
    _csv(asking)


def _events(mark: str) -> list[dict[str, Any]]:
    """In Stockholm: late on 30 March, on the 31st, which has 23 hours, and early on 1 April; one is of no use."""
    used = [
        ("1", "2024-03-30T22:30:00Z", "ann", {"model": "gpt-4", "tokens": Decimal("0.1")}),
        ("2", "2024-03-31T10:00:00Z", "ann", {"model": "gpt-4", "tokens": "0.2"}),
        ("3", "2024-03-31T22:30:00Z", "bob", {"model": "o3", "tokens": EXACT}),
        ("4", "2024-03-31T12:00:00Z", "bob", {"model": "o3", "tokens": "none"}),
    ]
    events = [make_event(mark, key, time=time, subject=subject, data=data) for key, time, subject, data in used]
    return [*events, make_event(mark, "now", subject="eve", data={"model": "now", "tokens": 7})]


class _Asking:
    """One meter of one mount, asked."""

    def __init__(self, walk: Walk, mount: Mount, slug: str) -> None:
        self.walk, self.mount, self.slug = walk, mount, slug

    def get(self, path: str = "/query", slug: str | None = None, **params: Any) -> httpx.Response:
        headers = self.mount.headers | params.pop("headers", {})
        path = f"{self.mount.prefix}/meters/{slug or self.slug}{path}"
        return self.walk.call("GET", path, params=params, headers=headers)

    def check(
        self, behaviour: str, source: str, response: httpx.Response, expected: Answer, operation: str = QUERY
    ) -> Any:
        rule = Rule(operation, f"{self.mount.dialect}: {behaviour}", source)
        return self.walk.check(rule, response, expected)

    def refused(self, field: str | None = None) -> Answer:
        return refusal(self.mount, 400, field)


def _totals(asking: _Asking) -> None:
    total = row(EXACT + Decimal("0.3"), RANGE["from"], RANGE["to"])
    echoed = {name: at(value) for name, value in RANGE.items()}
    asking.check(
        "a sum is exact, to the last digit",
        "OpenMeter, Query meter; Meterhouse, Numbers",
        asking.get(**RANGE),
        rows(total, **echoed),
    )
    first = {"from": RANGE["from"], "to": "2024-03-31T10:00:00Z"}
    value = Decimal("0.3") if asking.mount.zuplo else Decimal("0.1")
    source = (
        "Zuplo, Query meter: to is inclusive" if asking.mount.zuplo else "OpenMeter, the end of a range is exclusive"
    )
    asking.check(
        "the end of the range",
        source,
        asking.get(**first),
        Answer(200, {"data": [row(value, first["from"], first["to"])]}),
    )
    counted = asking.get(slug=f"{asking.slug}_count", **RANGE)
    asking.check(
        "COUNT counts each event, whatever its value",
        "OpenMeter, aggregations",
        counted,
        Answer(200, {"data": [{"value": 4}]}),
    )
    nothing = {"from": "2001-01-01T00:00:00Z", "to": "2001-01-02T00:00:00Z"}
    none = [] if asking.mount.zuplo else [row(0, nothing["from"], nothing["to"])]
    source = (
        "Zuplo, Query meter: an empty array" if asking.mount.zuplo else "OpenMeter, COUNT of nothing is one row with 0"
    )
    asking.check(
        "COUNT of nothing", source, asking.get(slug=f"{asking.slug}_count", **nothing), Answer(200, {"data": none})
    )
    asking.check("SUM of nothing", "OpenMeter, an empty array", asking.get(**nothing), Answer(200, {"data": []}))


def _windows(asking: _Asking) -> None:
    days = asking.get(windowSize="DAY", windowTimeZone="Europe/Stockholm", **RANGE)
    expected = [
        row(Decimal("0.1"), "2024-03-30T00:00:00+01:00", "2024-03-31T00:00:00+01:00"),
        row(Decimal("0.2"), "2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"),
        row(EXACT, "2024-04-01T00:00:00+02:00", "2024-04-02T00:00:00+02:00"),
    ]
    source = f"{asking.mount.dialect}, Query meter: windowSize, windowTimeZone"
    asking.check("days of a zone, one of 23 hours", source, days, Answer(200, {"windowSize": "DAY", "data": expected}))
    hours = asking.get(windowSize="HOUR", **RANGE | {"to": "2024-03-31T00:00:00Z"})
    hour = row(Decimal("0.1"), "2024-03-30T22:00:00Z", "2024-03-30T23:00:00Z")
    asking.check("windows without events are left out", source, hours, Answer(200, {"data": [hour]}))


def _groups_and_filters(asking: _Asking) -> None:
    ann, bob = Decimal("0.3"), EXACT
    span = (RANGE["from"], RANGE["to"])
    source = f"{asking.mount.dialect}, Query meter: groupBy"
    by_model = [row(ann, *span, groupBy={"model": "gpt-4"}), row(bob, *span, groupBy={"model": "o3"})]
    asking.check(
        "a group for each value", source, asking.get(groupBy="model", **RANGE), Answer(200, {"data": by_model})
    )
    by_subject = [row(ann, *span, subject="ann"), row(bob, *span, subject="bob")]
    asking.check(
        "subject is a reserved group", source, asking.get(groupBy="subject", **RANGE), Answer(200, {"data": by_subject})
    )
    source = f"{asking.mount.dialect}, Query meter: subject"
    asking.check(
        "subjects are repeated, and grouped by",
        source,
        asking.get(subject=["bob", "ann"], **RANGE),
        Answer(200, {"data": by_subject}),
    )
    source = f"{asking.mount.dialect}, Query meter: filterGroupBy, advancedMeterGroupByFilters"
    one = Answer(200, {"data": [row(ann, *span)]})
    asking.check("filterGroupBy[model]=gpt-4", source, asking.get(**{"filterGroupBy[model]": "gpt-4"}, **RANGE), one)
    advanced = asking.get(advancedMeterGroupByFilters='{"model":{"$ne":"o3"}}', **RANGE)
    asking.check("advanced filters as JSON", source, advanced, one)
    path = f"{asking.mount.prefix}/meters/{asking.slug}/query"
    body = RANGE | {"filterGroupBy": {"model": ["gpt-4", "o4"]}, "subject": ["ann"]}
    response = asking.walk.call("POST", path, json=body, headers=asking.mount.headers)
    both = Answer(200, {"data": [row(ann, *span, subject="ann")]})
    asking.check(
        "a body asks the same", f"{asking.mount.dialect}, Query meter (POST)", response, both, "query_bucket_meter_post"
    )


def _refusals(asking: _Asking) -> None:
    source = f"{asking.mount.dialect}, Query meter; OpenMeter's messages"
    for behaviour, field, params in (
        ("a group that the meter has not", "groupBy", {"groupBy": "colour"}),
        ("a filter that the meter has not", "filterGroupBy", {"filterGroupBy[colour]": "red"}),
        ("a window that there is not", "windowSize", {"windowSize": "FORTNIGHT"}),
        ("a zone that there is not", "windowTimeZone", {"windowTimeZone": "Mars/Phobos", "windowSize": "DAY"}),
        ("a range that ends before it begins", "from", {"from": RANGE["to"], "to": RANGE["from"]}),
        ("a date that is none", "from", {"from": "yesterday"}),
    ):
        asking.check(f"refused, named: {behaviour}", source, asking.get(**params), asking.refused(field))
    unknown = asking.get(slug="no_such_meter")
    asking.check("an unknown meter is not found", source, unknown, refusal(asking.mount, 404))


def _values(asking: _Asking) -> None:
    source = f"{asking.mount.dialect}, List meter group by values: the last 24 hours"
    values = asking.get("/group-by/model/values")
    operation = "list_bucket_meter_group_by_values"
    asking.check("values of a group", source, values, Answer(200, ["now"]), operation)
    asking.check(
        "refused: a key the meter has not", source, asking.get("/group-by/colour/values"), asking.refused(), operation
    )
    subjects = Answer(200, ["ann", "bob", "eve"])
    asking.check(
        "subjects of a meter",
        "OpenMeter, List meter subjects",
        asking.get("/subjects"),
        subjects,
        "list_bucket_meter_subjects",
    )


def _csv(asking: _Asking) -> None:
    response = asking.get(headers={"Accept": "text/csv"}, groupBy=["subject", "model"], **RANGE)
    written = Answer(
        200, headers={"Content-Type": "text/csv", "Content-Disposition": f"attachment; filename={asking.slug}.csv"}
    )
    asking.check("Accept: text/csv gives a file", "OpenMeter, Query meter: text/csv", response, written)
    wrong = []
    lines = list(csv.reader(io.StringIO(response.text)))
    expected = [
        ["window_start", "window_end", "subject", "model", "value"],
        ["2024-03-30T00:00:00Z", "2024-04-02T00:00:00Z", "ann", "gpt-4", "0.300000"],
        ["2024-03-30T00:00:00Z", "2024-04-02T00:00:00Z", "bob", "o3", f"{EXACT}00000"],
    ]
    if lines != expected:
        wrong.append(response.text[:300])
    rule = Rule(QUERY, f"{asking.mount.dialect}: CSV has the columns as asked, six places", "OpenMeter, query_csv.go")
    asking.walk.note(rule, wrong, "; ".join(map(",".join, expected)), "as expected")
