"""/authentication/v1/oauth/token, and what others need to check our tokens."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from meterhouse import clock
from meterhouse.access import store
from meterhouse.access.clients import Caller
from meterhouse.access.gate import take_token, too_many_requests
from meterhouse.access.operations import ALL_SCOPES
from meterhouse.access.payloads import (
    OAuthError,
    TokenRequest,
    access_denied,
    choose_scopes,
    read_token_request,
)
from meterhouse.access.secrets import is_client_id, is_client_secret
from meterhouse.access.tokens import TOKEN_LIFETIME_SECONDS, claims_for
from meterhouse.errors import MeterhouseError, TooManyRequestsError

router = APIRouter(tags=["Access"])

TOKEN_PATH = "/authentication/v1/oauth/token"  # noqa: S105 - a path
_MAX_BODY_BYTES = 64 * 1024
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CACHEABLE = {"Cache-Control": "public, max-age=300"}

_TOKEN_REQUEST_SCHEMA = {
    "type": "object",
    "required": ["audience", "client_id", "client_secret", "grant_type"],
    "properties": {
        "audience": {"type": "string", "description": "The base URL of this server, with its trailing slash."},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string"},
        "grant_type": {"type": "string", "enum": ["client_credentials"]},
        "scope": {"type": "string", "description": "Narrows the token to these scopes, separated by spaces."},
    },
}
_TOKEN_SCHEMA = {
    "type": "object",
    "required": ["access_token", "expires_in", "scope", "token_type"],
    "properties": {
        "access_token": {"type": "string"},
        "expires_in": {"type": "integer", "description": "Seconds."},
        "scope": {"type": "string"},
        "token_type": {"type": "string", "enum": ["Bearer"]},
    },
}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}


def _answer_docs(status: int) -> dict[str, Any]:
    description = {200: "An access token.", 400: "A malformed request.", 401: "Wrong credentials or audience."}
    schema = _TOKEN_SCHEMA if status == 200 else _ERROR_SCHEMA
    return {
        "description": description.get(status, "The request was not served."),
        "content": {"application/json": {"schema": schema}},
    }


@router.post(
    TOKEN_PATH,
    name="create_access_token",
    operation_id="create_access_token",
    summary="Create access token",
    response_class=JSONResponse,
    responses={status: _answer_docs(status) for status in (200, 400, 401, 413, 429, 500, 503)},
    openapi_extra={
        "security": [],
        "requestBody": {
            "required": True,
            "content": {
                media_type: {"schema": _TOKEN_REQUEST_SCHEMA}
                for media_type in ("application/json", "application/x-www-form-urlencoded")
            },
        },
    },
)
async def create_access_token(request: Request) -> Response:
    """Exchanges an application's credentials (in the body, or by HTTP Basic) for a token that lasts one hour."""
    try:
        asked = read_token_request(
            await _read_body(request),
            request.headers.get("content-type", ""),
            request.headers.get("authorization", ""),
        )
        return JSONResponse(await _issue(request, asked), headers=_NO_STORE)
    except OAuthError as error:
        body = {"error": error.error, "error_description": error.description}
        return JSONResponse(body, error.status, headers=error.headers | _NO_STORE)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise OAuthError(413, "invalid_request", f"the body is larger than {_MAX_BODY_BYTES} bytes")
    return bytes(body)


async def _issue(request: Request, asked: TokenRequest) -> dict[str, Any]:
    state = request.app.state
    if asked.grant_type != "client_credentials":
        raise OAuthError(400, "unsupported_grant_type", "grant_type: must be client_credentials")
    caller = await _log_in(request, asked)
    try:
        # After the log-in, so that nobody spends another client's tokens with its id alone.
        await take_token(request, "create_access_token", caller.client_id)
    except TooManyRequestsError as error:
        raise _slow_down(error) from error
    audience: str = state.settings.audience
    if asked.audience.rstrip("/") not in {one.rstrip("/") for one in (audience, *state.settings.audiences)}:
        raise OAuthError(401, "access_denied", "audience: is not this server's")
    scopes = choose_scopes(asked.scope, caller.scopes)
    return {
        "access_token": await state.keys.sign(claims_for(caller, scopes, audience, clock.real_now())),
        "expires_in": TOKEN_LIFETIME_SECONDS,
        "scope": " ".join(scopes),
        "token_type": "Bearer",
    }


async def _log_in(request: Request, asked: TokenRequest) -> Caller:
    """Wrong secrets are counted per address and client; past the limit none is looked at, right or wrong."""
    state = request.app.state
    known_shape = is_client_id(asked.client_id) and is_client_secret(asked.client_secret)
    address = request.client.host if request.client else ""
    guesser = f"{address}:{asked.client_id if is_client_id(asked.client_id) else '-'}"
    left = await state.limiter.peek("failed_login", guesser)
    if left is not None and not left.granted:
        raise _slow_down(too_many_requests("failed_login", left))
    if known_shape:
        async with state.engine.connect() as connection:
            secret_hash = state.secrets.hash(asked.client_secret)
            row = await store.log_in(connection, asked.client_id, secret_hash, clock.real_now())
        if row is not None:
            return Caller(row.account_id, row.client_id, frozenset(row.scopes), row.bucket_no)
    await state.limiter.take("failed_login", guesser)
    raise access_denied(basic=asked.basic)


def _slow_down(error: MeterhouseError) -> OAuthError:
    return OAuthError(429, "too_many_requests", error.message, error.headers)


@router.get(
    "/.well-known/jwks.json",
    name="get_jwks",
    operation_id="get_jwks",
    summary="Public keys of access tokens",
    openapi_extra={"security": []},
)
async def get_jwks(request: Request) -> JSONResponse:
    return JSONResponse(await request.app.state.keys.jwks(), headers=_CACHEABLE)


@router.get(
    "/.well-known/openid-configuration",
    name="get_openid_configuration",
    operation_id="get_openid_configuration",
    summary="Where the token endpoint and its keys are",
    openapi_extra={"security": []},
)
async def get_openid_configuration(request: Request) -> JSONResponse:
    issuer: str = request.app.state.settings.audience
    return JSONResponse(
        {
            "issuer": issuer,
            "token_endpoint": issuer.rstrip("/") + TOKEN_PATH,
            "jwks_uri": issuer + ".well-known/jwks.json",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "scopes_supported": list(ALL_SCOPES),
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["accountId", "aud", "azp", "exp", "gty", "iat", "iss", "scope", "sub"],
        },
        headers=_CACHEABLE,
    )
