"""Access tokens: the claims they carry (reference: usage-engine.md 1.3) and how they are checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from jose import jwt
from jose.constants import ALGORITHMS
from jose.exceptions import JOSEError

from meterhouse.access.clients import Caller
from meterhouse.access.signing import SigningKeys

TOKEN_LIFETIME_SECONDS = 3_600
_MAX_TOKEN_LENGTH = 8_192
_MAX_REMEMBERED = 10_000
_GRANT = "client-credentials"

_REQUIRED = {f"require_{claim}": True for claim in ("iss", "aud", "sub", "iat", "exp")}


class InvalidTokenError(Exception):
    """Why the token is refused, for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a checked token says. Its client may have been revoked since."""

    account_id: UUID
    client_id: str
    scopes: frozenset[str]
    expires_at_seconds: int


def claims_for(caller: Caller, scopes: Iterable[str], audience: str, now: datetime) -> dict[str, Any]:
    """`audience` is the base URL with its trailing slash: the audience and the issuer."""
    issued_at = int(now.timestamp())
    return {
        "accountId": str(caller.account_id),
        "iss": audience,
        "sub": f"{caller.client_id}@clients",
        "aud": audience,
        "iat": issued_at,
        "exp": issued_at + TOKEN_LIFETIME_SECONDS,
        "scope": " ".join(scopes),
        "gty": _GRANT,
        "azp": caller.client_id,
    }


class TokenVerifier:
    """Checks a token's signature once and remembers it until the token ends."""

    def __init__(self, keys: SigningKeys, audience: str) -> None:
        self._keys = keys
        self._audience = audience
        self._remembered: dict[str, Claims] = {}

    async def verify(self, token: str, now: datetime) -> Claims:
        """Raises InvalidTokenError."""
        claims = self._remembered.get(token)
        if claims is None:
            claims = await self._check(token)
            if len(self._remembered) >= _MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[token] = claims
        if claims.expires_at_seconds <= now.timestamp():
            self._remembered.pop(token, None)
            raise InvalidTokenError("the token has expired")
        return claims

    async def _check(self, token: str) -> Claims:
        if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
            raise InvalidTokenError("the token is malformed")
        key = await self._keys.public_key(_key_id(token))
        if key is None:
            raise InvalidTokenError("the token is not signed by this server")
        try:
            # Expiry is judged by the caller's `now`, for remembered tokens as for new ones.
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHMS.RS256],
                audience=self._audience,
                issuer=self._audience,
                options=_REQUIRED | {"verify_exp": False},
            )
        except JOSEError as error:
            raise InvalidTokenError("the token is not valid here") from error
        return _read_claims(payload)


def _key_id(token: str) -> str:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except JOSEError as error:
        raise InvalidTokenError("the token is malformed") from error
    if not isinstance(kid, str):
        raise InvalidTokenError("the token names no signing key")
    return kid


def _read_claims(payload: Mapping[str, Any]) -> Claims:
    """Only we sign with these keys, so another shape is another kind of token."""
    if payload.get("gty") != _GRANT:
        raise InvalidTokenError("the token is not an access token")
    return Claims(UUID(payload["accountId"]), payload["azp"], frozenset(payload["scope"].split()), int(payload["exp"]))
