"""Usage out of a bucket, on both mounts: meter queries, group-by values, subjects."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from meterhouse import clock
from meterhouse.buckets import query, store
from meterhouse.buckets.answers import query_csv, query_json
from meterhouse.buckets.meters import require_queried_meter
from meterhouse.buckets.questions import members_of_query_string, read_question, read_range
from meterhouse.buckets.scope import InBucket, Scope
from meterhouse.database import Transaction
from meterhouse.errors import BadRequestError, NotFoundError, bad_field
from meterhouse.wire import JsonReply, decode_json, read_body

router = APIRouter()

GROUP_VALUES_DEFAULT = timedelta(hours=24)
GROUP_VALUES_OLDEST = timedelta(days=90)
GROUP_VALUES_LONGEST = timedelta(days=30)


@router.get("/meters/{meterIdOrSlug}/query")
async def query_bucket_meter(
    request: Request,
    meterIdOrSlug: str,  # noqa: N803 - the reference's name
    scope: InBucket,
    connection: Transaction,
) -> Response:
    return await answer(request, connection, scope, meterIdOrSlug, members_of_query_string(request.query_params))


@router.post("/meters/{meterIdOrSlug}/query")
async def query_bucket_meter_post(
    request: Request,
    meterIdOrSlug: str,  # noqa: N803
    scope: InBucket,
    connection: Transaction,
) -> Response:
    body = await read_body(request)
    members = decode_json(body) if body.strip() else {}
    if not isinstance(members, dict):
        raise BadRequestError("the request body must be a JSON object")
    return await answer(request, connection, scope, meterIdOrSlug, members)


async def answer(
    request: Request, connection: Any, scope: Scope, id_or_slug: str, members: Mapping[str, Any]
) -> Response:
    """CSV when Accept is text/csv, else JSON."""
    meter = await require_queried_meter(connection, scope, id_or_slug)
    question = read_question(members, meter, seed=scope.seed)
    if question.customer_ids:
        known = await store.existing_customers(connection, scope, question.customer_ids)
        for customer_id in question.customer_ids:
            if customer_id not in known:
                raise NotFoundError(f"customer not found: {customer_id}")
    rows = await query.run(connection, scope, meter, question)
    if _wants_csv(request.headers.get("accept", "")):
        disposition = f"attachment; filename={meter.slug}.csv"
        # Built from bytes: a text response would add a charset to the media type.
        return Response(
            query_csv(question, rows).encode(),
            headers={"Content-Type": "text/csv", "Content-Disposition": disposition},
        )
    return JsonReply(query_json(question, rows))


def _wants_csv(accept: str) -> bool:
    return accept.partition(",")[0].partition(";")[0].strip().lower() == "text/csv"


@router.get("/meters/{meterIdOrSlug}/group-by/{groupByKey}/values")
async def list_bucket_meter_group_by_values(
    request: Request,
    meterIdOrSlug: str,  # noqa: N803
    groupByKey: str,  # noqa: N803
    scope: InBucket,
    connection: Transaction,
) -> Response:
    """Distinct values, ascending. Without a range, of the last 24 hours."""
    meter = await require_queried_meter(connection, scope, meterIdOrSlug)
    if groupByKey not in meter.group_by:
        raise bad_field("groupByKey", "group by key is not valid for this meter")
    now = clock.now()
    start, end = read_range(request.query_params, equal_allowed=scope.seed)
    if start is None and end is None:
        start = now - GROUP_VALUES_DEFAULT
    if start is not None and start <= now - GROUP_VALUES_OLDEST:
        raise bad_field("from", f"must be less than {GROUP_VALUES_OLDEST.days} days ago")
    if start is not None and (end or now) - start > GROUP_VALUES_LONGEST:
        raise bad_field("to", f"must be at most {GROUP_VALUES_LONGEST.days} days after from")
    during = query.occurred(meter, scope, start, end, to_inclusive=scope.seed, event_from=False)
    return JsonReply(await query.group_values(connection, meter, groupByKey, during))


@router.get("/meters/{meterIdOrSlug}/subjects")
async def list_bucket_meter_subjects(
    request: Request,
    meterIdOrSlug: str,  # noqa: N803
    scope: InBucket,
    connection: Transaction,
) -> Response:
    """Subjects with events of the meter's type, ascending; of all time unless a range is given."""
    meter = await require_queried_meter(connection, scope, meterIdOrSlug)
    start, end = read_range(request.query_params, equal_allowed=scope.seed)
    during = query.occurred(meter, scope, start, end, to_inclusive=scope.seed, event_from=False)
    return JsonReply(await query.subjects(connection, during))
