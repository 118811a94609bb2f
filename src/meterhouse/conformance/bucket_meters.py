"""Meters of a bucket, on one of its mounts."""

from typing import Any

from meterhouse.conformance.buckets import Mount
from meterhouse.conformance.expect import ABSENT_OR_NULL, INSTANT, TEXT, ULID, Like, one_of
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, Walk, problem, text_of

BASE = {"id": ULID, "createdAt": INSTANT, "updatedAt": INSTANT, "deletedAt": ABSENT_OR_NULL}


def refusal(mount: Mount, status: int, field: str | None = None) -> Answer:
    trace = {"trace": {"timestamp": INSTANT, "requestId": TEXT}} if mount.zuplo else {}
    return problem(status, field, **trace)


def create_meter(walk: Walk, mount: Mount, rule: Rule, body: dict[str, Any], expected: dict[str, Any]) -> str:
    """Its id."""
    response = walk.call("POST", f"{mount.prefix}/meters", json=body, headers=mount.headers)
    meter_id = text_of(walk.check(rule, response, Answer(201, BASE | expected)), "id")
    walk.delete_later(f"{mount.prefix}/meters/{meter_id}", **mount.headers)
    return meter_id


def walk_bucket_meters(walk: Walk, mount: Mount) -> None:
    slug = f"conformance_{walk.mark}_{mount.dialect.lower()}_meter"
    body = {"slug": slug, "aggregation": "SUM", "eventType": slug, "valueProperty": "$.tokens"}
    more = {"name": "Tokens", "description": "Of prompts", "metadata": {"team": "a"}, "groupBy": {"model": "$.model"}}
    rule = Rule(
        "create_bucket_meter",
        f"{mount.dialect}: every member that was sent comes back",
        f"{mount.dialect}, Create meter: 201",
    )
    meter_id = create_meter(walk, mount, rule, body | more, body | more)
    _refusals(walk, mount, body)
    _reads(walk, mount, meter_id, slug)
    path = f"{mount.prefix}/meters/{slug}"
    rule = Rule(
        "update_bucket_meter",
        f"{mount.dialect}: replaces: what is left out is reset, the description stays",
        f"{mount.dialect}, Update meter; OpenMeter's adapter",
    )
    cleared = {"name": slug, "description": "Of prompts", "metadata": ABSENT_OR_NULL, "groupBy": ABSENT_OR_NULL}
    response = walk.call("PUT", path, json={}, headers=mount.headers)
    walk.check(rule, response, Answer(200, BASE | body | cleared))
    rule = Rule(
        "delete_bucket_meter", f"{mount.dialect}: answers without a body", f"{mount.dialect}, Delete meter: 204"
    )
    walk.check(rule, walk.call("DELETE", path, headers=mount.headers), Answer(204, None))
    rule = Rule(
        "get_bucket_meter", f"{mount.dialect}: its slug is gone with it", "OpenMeter, meters are deleted softly"
    )
    walk.check(rule, walk.call("GET", path, headers=mount.headers), refusal(mount, 404))
    rule = Rule(
        "get_bucket_meter", f"{mount.dialect}: its id tells when it was deleted", "OpenMeter, Get meter: deletedAt"
    )
    response = walk.call("GET", f"{mount.prefix}/meters/{meter_id}", headers=mount.headers)
    walk.check(rule, response, Answer(200, BASE | {"id": meter_id, "deletedAt": INSTANT}))


def _refusals(walk: Walk, mount: Mount, body: dict[str, Any]) -> None:
    rule = Rule(
        "create_bucket_meter",
        f"{mount.dialect}: a slug that is taken is refused",
        "OpenMeter, 409: meter with the same slug already exists",
    )
    response = walk.call("POST", f"{mount.prefix}/meters", json=body, headers=mount.headers)
    walk.check(rule, response, refusal(mount, 409))
    other = body | {"slug": body["slug"] + "_wrong"}
    for behaviour, field, changes in (
        ("the slug's form", "slug", {"slug": "Not A Slug"}),
        ("the aggregations that there are", "aggregation", {"aggregation": "MEDIAN"}),
        ("an event type", "eventType", {"eventType": None}),
        ("SUM needs a value", "valueProperty", {"valueProperty": None}),
        ("a path begins with $", "valueProperty", {"valueProperty": "tokens"}),
        ("a group key's form", "groupBy", {"groupBy": {"a-b": "$.model"}}),
    ):
        rule = Rule(
            "create_bucket_meter",
            f"{mount.dialect}: refused, named: {behaviour}",
            f"{mount.dialect}, Create meter: request body",
        )
        wrong = {name: value for name, value in (other | changes).items() if value is not None}
        response = walk.call("POST", f"{mount.prefix}/meters", json=wrong, headers=mount.headers)
        walk.check(rule, response, refusal(mount, 400, field))
    counting = other | {"aggregation": "COUNT"}
    if mount.zuplo:
        rule = Rule("create_bucket_meter", "Zuplo: COUNT ignores valueProperty", "Zuplo, Create meter: valueProperty")
        create_meter(walk, mount, rule, counting, counting)
    else:
        rule = Rule(
            "create_bucket_meter",
            "OpenMeter: COUNT refuses valueProperty",
            "OpenMeter, not allowed when the aggregation is count",
        )
        response = walk.call("POST", f"{mount.prefix}/meters", json=counting, headers=mount.headers)
        walk.check(rule, response, refusal(mount, 400, "valueProperty"))


def _reads(walk: Walk, mount: Mount, meter_id: str, slug: str) -> None:
    for name in (meter_id, slug):
        what = "id" if name == meter_id else "slug"
        rule = Rule("get_bucket_meter", f"{mount.dialect}: by its {what}", f"{mount.dialect}, Get meter: meterIdOrSlug")
        response = walk.call("GET", f"{mount.prefix}/meters/{name}", headers=mount.headers)
        walk.check(rule, response, Answer(200, BASE | {"id": meter_id, "slug": slug}, _limits(response)))
    rule = Rule(
        "get_bucket_meter", f"{mount.dialect}: an unknown slug is not found", "OpenMeter, not found error; RFC 9457"
    )
    walk.check(
        rule, walk.call("GET", f"{mount.prefix}/meters/no_such_meter", headers=mount.headers), refusal(mount, 404)
    )
    rule = Rule("list_bucket_meters", f"{mount.dialect}: is a bare list", f"{mount.dialect}, List meters; OpenMeter")
    response = walk.call("GET", f"{mount.prefix}/meters", params={"pageSize": 1000}, headers=mount.headers)
    walk.check(rule, response, Answer(200, one_of("a list with the meter", {"id": meter_id})))
    for field, value in (("pageSize", "1001"), ("orderBy", "colour")):
        rule = Rule(
            "list_bucket_meters",
            f"{mount.dialect}: {field}={value} is refused",
            f"{mount.dialect}, List meters: {field}",
        )
        response = walk.call("GET", f"{mount.prefix}/meters", params={field: value}, headers=mount.headers)
        walk.check(rule, response, refusal(mount, 400, field))


def _limits(response: Any) -> dict[str, Like]:
    """Both headers or none: a server whose limits are off says nothing of them."""
    if "RateLimit" not in response.headers and "RateLimit-Policy" not in response.headers:
        return {}
    policy = Like('like "operation";q=1;w=1', lambda text: isinstance(text, str) and ";q=" in text and ";w=" in text)
    left = Like('like "operation";r=1;t=1', lambda text: isinstance(text, str) and ";r=" in text and ";t=" in text)
    return {"RateLimit-Policy": policy, "RateLimit": left}
