"""Lets a request in, or says why not: who calls, may it, and does it call too often. In this order."""

from typing import Annotated, Any

from fastapi import Depends, Request

from meterhouse import clock
from meterhouse.access.clients import Caller
from meterhouse.access.operations import OPERATIONS
from meterhouse.access.secrets import API_KEY_PREFIX, is_api_key
from meterhouse.access.token_bucket import Grant
from meterhouse.access.tokens import InvalidTokenError
from meterhouse.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError

RATE_LIMIT_SCOPE = "meterhouse.rate_limit"
"""Where a request's scope carries the headers (name → value) that its answer, error or not, is to have."""

_NO_CREDENTIALS = "Bearer"
_BAD_CREDENTIALS = 'Bearer error="invalid_token"'


async def admit(request: Request, operation: str) -> Caller:
    """Raises UnauthorizedError, ForbiddenError, TooManyRequestsError or UnavailableError."""
    caller = await _authenticate(request)
    scope = OPERATIONS[operation].scope
    if scope is not None:
        require_scope(caller, scope, operation)
    await take_token(request, operation, caller.client_id)
    return caller


def require_scope(caller: Caller, scope: str, what: str) -> None:
    """`what` needs it. Raises ForbiddenError."""
    if scope not in caller.scopes:
        raise ForbiddenError(
            f"{what} needs the scope {scope}, which this client does not have",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
        )


async def admitted(request: Request) -> Caller:
    """As `admit`, for the operation that the route's name says."""
    return await admit(request, request.scope["route"].name)


Admitted = Annotated[Caller, Depends(admitted)]


async def _authenticate(request: Request) -> Caller:
    credentials = _bearer(request)
    if credentials.startswith(API_KEY_PREFIX):
        return await _authenticate_key(request.app.state, credentials)
    return await _authenticate_token(request.app.state, credentials)


def _bearer(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials:
        raise UnauthorizedError(
            "send `Authorization: Bearer` with an API key or an access token",
            headers={"WWW-Authenticate": _NO_CREDENTIALS},
        )
    return credentials.strip()


async def _authenticate_key(state: Any, api_key: str) -> Caller:
    client = await state.clients.by_api_key(api_key, clock.real_now()) if is_api_key(api_key) else None
    if client is None:
        raise _unauthorized("the API key is unknown, expired or revoked")
    caller: Caller = client.caller
    return caller


async def _authenticate_token(state: Any, token: str) -> Caller:
    try:
        claims = await state.tokens.verify(token, clock.real_now())
    except InvalidTokenError as error:
        raise _unauthorized(str(error)) from error
    client = await state.clients.application(claims.account_id, claims.client_id)
    if client is None:
        raise _unauthorized("the token's application has been revoked")
    # What the application has lost since is lost to its tokens; what it gained needs a new token.
    return Caller(claims.account_id, claims.client_id, claims.scopes & client.caller.scopes, client.caller.bucket_no)


def _unauthorized(message: str) -> UnauthorizedError:
    return UnauthorizedError(message, headers={"WWW-Authenticate": _BAD_CREDENTIALS})


async def take_token(request: Request, operation: str, client: str) -> None:
    """Counts one call. Leaves the RateLimit headers in the request's scope. Raises TooManyRequestsError."""
    limiter = request.app.state.limiter
    grant = await limiter.take(operation, client)
    if grant is None:
        return
    request.scope[RATE_LIMIT_SCOPE] = {
        "RateLimit-Policy": limiter.policy(operation),
        "RateLimit": service_limit(operation, grant),
    }
    if not grant.granted:
        raise too_many_requests(operation, grant)


def service_limit(operation: str, grant: Grant) -> str:
    """RateLimit (draft-ietf-httpapi-ratelimit-headers-10): `t` is how long until one more call is possible."""
    seconds = -(-grant.next_token_us // 1_000_000)
    return f'"{operation}";r={grant.remaining};t={seconds}'


def too_many_requests(operation: str, grant: Grant) -> TooManyRequestsError:
    seconds = max(1, -(-grant.next_token_us // 1_000_000))
    return TooManyRequestsError(
        f"the rate limit of {operation} is reached; try again in {seconds} s", headers={"Retry-After": str(seconds)}
    )
