"""/usage-metering/v1/metered-records: all that meters have sent, in order, for whoever wants to pull it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, Field
from starlette.responses import Response

from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.metered_records import store
from meterhouse.metered_records.payloads import record_json
from meterhouse.paging import whole_number
from meterhouse.wire import JsonReply

MAX_LIMIT = 1_000

router = APIRouter(prefix="/usage-metering/v1/metered-records")


def _cursor(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError("must be a cursor from an earlier answer")
    return int(text)


class FeedPage(BaseModel):
    """`after`: the cursor of the last record that is known."""

    after: Annotated[int, BeforeValidator(_cursor)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(whole_number)] = 100


@router.get("")
async def list_metered_records(
    caller: Admitted, connection: Transaction, page: Annotated[FeedPage, Query()]
) -> Response:
    """Numbers become visible in their order and without gaps, so a reader that keeps `after` misses nothing."""
    rows = await store.list_records(connection, caller.account_id, page.after, page.limit)
    after = rows[-1]["record_no"] if rows else page.after
    return JsonReply({"meteredRecords": [record_json(row) for row in rows], "after": str(after)})
