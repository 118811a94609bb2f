"""/v1/metering: buckets, and which mounts of one are to be walked."""

from dataclasses import dataclass, field

from meterhouse.conformance.expect import INSTANT, TEXT, WHOLE_NUMBER, Only, one_of, pattern
from meterhouse.conformance.report import Rule
from meterhouse.conformance.walk import Answer, Walk, member_of, problem, read_body, text_of

PATH = "/v1/metering"
BUCKET_ID = pattern("mtr_ and 24 characters", r"mtr_[0-9A-Za-z]{24}")
BUCKET = {"id": BUCKET_ID, "accountName": TEXT, "createdOn": INSTANT, "updatedOn": INSTANT}


@dataclass(frozen=True, slots=True)
class Mount:
    """One of the two dialects over a bucket. `headers` choose the bucket where the path does not."""

    dialect: str
    prefix: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def zuplo(self) -> bool:
        return self.dialect == "Zuplo"


def walk_buckets(walk: Walk, chosen: str | None) -> list[Mount]:
    """Makes a bucket unless one was chosen."""
    rule = Rule("list_buckets", "a call without credentials is refused", "Zuplo, API access; RFC 6750, 3")
    anonymous = walk.call("GET", PATH, headers={"Authorization": ""})
    if anonymous.status_code == 404:
        walk.skip(rule, "this server has no buckets: its /api/v1 alone is checked")
        return [Mount("OpenMeter", "/api/v1")]
    walk.check(rule, anonymous, problem(401))
    bucket_id = chosen or _create(walk)
    here = {"data": one_of("a list with the bucket", {"id": bucket_id}), "total": WHOLE_NUMBER}
    rule = Rule("list_buckets", "is a page that tells its limit, offset and total", "Zuplo, List buckets")
    page = Only(here | {"limit": 1000, "offset": 0})
    walk.check(rule, walk.call("GET", PATH, params={"limit": 1000}), Answer(200, page))
    rule = Rule("get_bucket", "has its four members", "Zuplo, Get bucket")
    walk.check(rule, walk.call("GET", f"{PATH}/{bucket_id}"), Answer(200, BUCKET | {"id": bucket_id}))
    rule = Rule("get_bucket", "an unknown bucket is not found", "Zuplo, Get bucket; RFC 9457")
    walk.check(rule, walk.call("GET", f"{PATH}/mtr_{'0' * 24}"), problem(404))
    return [Mount("Zuplo", f"/v3/metering/{bucket_id}"), Mount("OpenMeter", "/api/v1", {"X-Bucket-Id": bucket_id})]


def _create(walk: Walk) -> str:
    """A bucket of our own; the first that the key opens, if it may make none."""
    rule = Rule("create_bucket", "a bucket is made", "Zuplo, Create bucket")
    response = walk.call("POST", PATH, json={})
    if response.status_code == 403:
        walk.skip(rule, "this key opens one bucket: the events that are sent stay in it")
        listed = member_of(read_body(walk.call("GET", PATH)), "data")
        return text_of(listed[0] if isinstance(listed, list) and listed else None, "id")
    bucket_id = text_of(walk.check(rule, response, Answer(201, BUCKET)), "id")
    walk.delete_later(f"{PATH}/{bucket_id}")
    return bucket_id


def delete_bucket(walk: Walk, mounts: list[Mount]) -> None:
    """The one that was made here, when all else is done in it."""
    prefix = mounts[0].prefix
    if not mounts[0].zuplo or not walk.made(f"{PATH}/{prefix.rpartition('/')[2]}"):
        return
    path = f"{PATH}/{prefix.rpartition('/')[2]}"
    rule = Rule("delete_bucket", "is gone when it was deleted", "Zuplo, Delete bucket: no data returned")
    walk.check(rule, walk.call("DELETE", path), Answer(204, None))
    walk.check(Rule("get_bucket", rule.behaviour, rule.source), walk.call("GET", path), problem(404))
