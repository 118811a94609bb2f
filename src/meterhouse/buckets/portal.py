"""Portal tokens, on the OpenMeter mount: a subject's own usage, for its browser (reference: metering 2.4)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from jose import JWTError, jwt
from starlette.responses import Response
from ulid import ULID

from meterhouse import clock
from meterhouse.access.clients import Caller
from meterhouse.access.gate import Admitted, take_token
from meterhouse.buckets import store
from meterhouse.buckets.payloads import PortalTokenCreate
from meterhouse.buckets.questions import members_of_query_string
from meterhouse.buckets.scope import InBucket, Scope
from meterhouse.buckets.usage import answer
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError, NotImplementedByDesignError, UnauthorizedError, bad_field
from meterhouse.wire import JsonReply, read_model, rfc3339

router = APIRouter()

LIFETIME = timedelta(hours=1)
LONGEST = timedelta(days=366)
_ISSUER = "openmeter"
_ALGORITHM = "HS256"


@router.post("/portal/tokens")
async def create_portal_token(request: Request, scope: InBucket, connection: Transaction) -> Response:
    body = await read_model(request, PortalTokenCreate)
    now = clock.real_now()
    expires_at: datetime = body.expires_at or now + LIFETIME
    if not now < expires_at <= now + LONGEST:
        raise bad_field("expiresAt", f"must be in the future, by {LONGEST.days} days at most")
    for slug in body.allowed_meter_slugs or []:
        if await store.find_meter(connection, scope, slug) is None:
            raise NotFoundError(f"meter not found: {slug}")
    token_id = str(ULID())
    claims: dict[str, Any] = {
        "iss": _ISSUER,
        "sub": body.subject,
        "jti": token_id,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "account": str(scope.account_id),
        "bucket": scope.bucket_id,
        "allowedMeterSlugs": body.allowed_meter_slugs,
    }
    token = jwt.encode(claims, request.app.state.secrets.portal_key, _ALGORITHM)
    answered: dict[str, Any] = {
        "id": token_id,
        "subject": body.subject,
        "createdAt": rfc3339(now),
        "expiresAt": rfc3339(expires_at.replace(microsecond=0)),
        "expired": False,
        "token": token,
    }
    if body.allowed_meter_slugs is not None:
        answered["allowedMeterSlugs"] = body.allowed_meter_slugs
    return JsonReply(answered)


@router.get("/portal/tokens")
async def list_portal_tokens(_: Admitted) -> Response:
    raise NotImplementedByDesignError("portal tokens are not kept: they cannot be listed")


@router.post("/portal/tokens/invalidate")
async def invalidate_portal_tokens(_: Admitted) -> Response:
    raise NotImplementedByDesignError("portal tokens are not kept: they expire, and cannot be invalidated")


@router.get("/portal/meters/{meterSlug}/query")
async def query_portal_meter(request: Request, meterSlug: str, connection: Transaction) -> Response:  # noqa: N803
    """The token's subject is the only one there is; customer and advanced filters do not exist here."""
    claims = _read_token(request)
    account_id, subject = UUID(claims["account"]), claims["sub"]
    await take_token(request, "query_portal_meter", f"{claims['bucket']}:{subject}")
    allowed = claims["allowedMeterSlugs"]
    bucket_no, bucket_id = await request.app.state.buckets.find(
        Caller(account_id, "", frozenset(), None), claims["bucket"]
    )
    if allowed is not None and meterSlug not in allowed:
        raise UnauthorizedError("the portal token does not open this meter", headers={"WWW-Authenticate": "Bearer"})
    members = members_of_query_string(request.query_params)
    for name in ("filterCustomerId", "advancedMeterGroupByFilters"):
        members.pop(name, None)
    scope = Scope(account_id, bucket_no, bucket_id, seed=False)
    return await answer(request, connection, scope, meterSlug, members | {"subject": [subject]})


def _read_token(request: Request) -> dict[str, Any]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        claims: dict[str, Any] = jwt.decode(
            token.strip(),
            request.app.state.secrets.portal_key,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            options={"verify_exp": False},
        )
    except JWTError:
        claims = {}
    now = clock.real_now()
    if scheme.lower() != "bearer" or not claims or datetime.fromtimestamp(claims["exp"], UTC) <= now:
        raise UnauthorizedError("the portal token is not valid", headers={"WWW-Authenticate": "Bearer"})
    return claims
