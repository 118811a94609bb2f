"""What a token request says: JSON or form, credentials in the body or in HTTP Basic (RFC 6749)."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

_MEMBERS = ("audience", "client_id", "client_secret", "grant_type")
_MAX_FORM_FIELDS = 100


class OAuthError(Exception):
    """An answer in OAuth's own form: `{"error", "error_description"}`."""

    def __init__(self, status: int, error: str, description: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """`scope` None: all that the application has. `basic`: the credentials came by HTTP Basic."""

    audience: str
    client_id: str
    client_secret: str
    grant_type: str
    scope: str | None
    basic: bool


def invalid_request(description: str) -> OAuthError:
    return OAuthError(400, "invalid_request", description)


def access_denied(*, basic: bool) -> OAuthError:
    return OAuthError(401, "access_denied", "Unauthorized", {"WWW-Authenticate": "Basic"} if basic else {})


def read_token_request(body: bytes, content_type: str, authorization: str) -> TokenRequest:
    """Raises OAuthError that names the member at fault."""
    members = _read_members(body, content_type)
    credentials = _read_basic(authorization)
    if credentials is not None:
        members = _with_basic(members, *credentials)
    for name in (*_MEMBERS, "scope"):
        if name in members and not isinstance(members[name], str):
            raise invalid_request(f"{name}: must be a string")
    for name in _MEMBERS:
        if not members.get(name):
            raise invalid_request(f"{name}: is required")
    return TokenRequest(
        audience=members["audience"],
        client_id=members["client_id"],
        client_secret=members["client_secret"],
        grant_type=members["grant_type"],
        scope=members.get("scope"),
        basic=credentials is not None,
    )


def _read_members(body: bytes, content_type: str) -> dict[str, Any]:
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type:
        media_type = "application/json" if body.lstrip().startswith(b"{") else "application/x-www-form-urlencoded"
    if media_type == "application/json":
        return _read_json(body)
    if media_type == "application/x-www-form-urlencoded":
        return _read_form(body)
    raise invalid_request("Content-Type: must be application/json or application/x-www-form-urlencoded")


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise invalid_request("the body is not JSON") from error
    if not isinstance(value, dict):
        raise invalid_request("the body must be a JSON object")
    return value


def _read_form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError as error:
        raise invalid_request("the body is not a form") from error
    return _without_duplicates(pairs)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise invalid_request(f"{name}: is given twice")
        members[name] = value
    return members


def _read_basic(authorization: str) -> tuple[str, str] | None:
    """`(client_id, client_secret)`, or None for another scheme, which this endpoint has no use for."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise access_denied(basic=True) from error
    if not colon:
        raise access_denied(basic=True)
    # RFC 6749, 2.3.1: both are form-encoded before they are joined.
    return unquote_plus(client_id), unquote_plus(secret)


def _with_basic(members: dict[str, Any], client_id: str, secret: str) -> dict[str, Any]:
    """RFC 6749, 2.3: one way of authentication a request. The client id alone may be repeated."""
    if "client_secret" in members:
        raise invalid_request("client_secret: is given both in the body and in the Authorization header")
    if members.get("client_id", client_id) != client_id:
        raise invalid_request("client_id: differs from the one in the Authorization header")
    return members | {"client_id": client_id, "client_secret": secret}


def choose_scopes(asked: str | None, held: frozenset[str]) -> list[str]:
    """In alphabetical order. Raises OAuthError for one that the application does not have."""
    wanted = set(asked.split()) if asked is not None else set()
    missing = sorted(wanted - held)
    if missing:
        raise OAuthError(400, "invalid_scope", f"scope: the application does not have {missing[0]!r}")
    return sorted(wanted or held)
