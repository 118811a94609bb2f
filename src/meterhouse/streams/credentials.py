"""How a function logs in elsewhere: a secret of the account becomes the value of an Authorization header."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode
from uuid import UUID

from cryptography.fernet import InvalidToken

from meterhouse.outbound import Call, CallFailedError
from meterhouse.streams.function import Node, Services, Step, StreamError
from meterhouse.streams.secret_store import find_encrypted

TYPES = ("oauth2", "basic", "bearer")
_DEFAULT_LIFETIME_SECONDS = 300
_MARGIN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Login:
    """What a node's params say. `type` is also the secret's; the token's members are of oauth2 alone.

    `own`: a secret that stands in the document itself.
    """

    node_name: str
    type: str
    secret_id: UUID | None
    token_url: str
    audience: str
    scope: str
    prefix: str
    in_header: bool
    own: dict[str, str] | None = None


def read_login(node: Node) -> Login | None:
    """None where nobody logs in. Raises StreamError."""
    wanted = str(node.params.get("authType") or "none").lower()
    if wanted == "none":
        return None
    kind = next((kind for kind in TYPES if wanted.startswith(kind)), None)
    if kind is None:
        raise StreamError(f"{node.name}: authType must be none, basic, bearer or oAuth2")
    entry = _object(node.params.get("secretsWalletEntry"))
    asked = _object(node.params.get("oAuth2Authentication"))
    return Login(
        node_name=node.name,
        type=kind,
        secret_id=_secret_id(node, entry.get("secretId")),
        token_url=_text(asked.get("accessTokenURL")),
        audience=_text(asked.get("audience")),
        scope=_text(asked.get("scope")),
        prefix=_text(asked.get("headerPrefix")) or "Bearer",
        in_header=_text(asked.get("clientAuthentication") or "sendInBody") != "sendInBody",
        own=None if entry.get("secretId") else _own_secret(kind, node.params),
    )


_OWN = {
    "basic": ("basicAuthentication", ("username", "password")),
    "oauth2": ("oAuth2Authentication", ("clientId", "clientSecret")),
    "bearer": ("bearerAuthentication", ("token",)),
}


def _own_secret(kind: str, params: Mapping[str, Any]) -> dict[str, str] | None:
    """A value may be hidden in {"secret": true, "value"}. Exports leave most values out: half a secret is none."""
    member, names = _OWN[kind]
    given = _object(params.get(member))
    values = {name: _text(_object(given.get(name)).get("value", given.get(name))) for name in names}
    return values if all(values.values()) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _secret_id(node: Node, value: Any) -> UUID | None:
    if value is None or value == "":
        return None
    try:
        return UUID(str(value))
    except ValueError:
        raise StreamError(f"{node.name}: secretsWalletEntry.secretId must be the id of a secret") from None


async def authorize(login: Login, services: Services, step: Step, *, renew: bool = False) -> str:
    """The header's value. `renew`: the token that is at hand was refused.

    Raises StreamError where the account lacks the secret, CallFailedError where no token can be had.
    """
    secret = await _secret(login, services, step)
    if login.type == "basic":
        return "Basic " + base64.b64encode(f"{secret['username']}:{secret['password']}".encode()).decode()
    if login.type == "bearer":
        return f"Bearer {secret['token']}"
    token_url = secret.get("tokenUrl") or login.token_url
    if not token_url:
        raise StreamError(f"{login.node_name}: neither the function nor the secret names a token URL")
    form = {"grant_type": "client_credentials"}
    form |= {name: value for name in ("audience", "scope") if (value := secret.get(name) or getattr(login, name))}
    return f"{login.prefix} {await _token(_request(login, secret, token_url, form), services, step, renew=renew)}"


async def _secret(login: Login, services: Services, step: Step) -> dict[str, str]:
    if login.own is not None:
        return login.own
    encrypted = await find_encrypted(step.connection, step.account_id, login.type, login.secret_id)
    if encrypted is None:
        which = f" with the id {login.secret_id}" if login.secret_id else ""
        raise StreamError(
            f"{login.node_name}: the account has no {login.type} secret{which}:"
            " create it with POST /stream-management/v1/secrets"
        )
    try:
        secret: dict[str, str] = json.loads(services.fernet.decrypt(encrypted))
    except InvalidToken:
        raise StreamError(
            f"{login.node_name}: the secret was stored under another METERHOUSE_SECRET_KEY; store it again"
        ) from None
    return secret


def _request(login: Login, secret: dict[str, str], token_url: str, form: dict[str, str]) -> Call:
    """RFC 6749, 4.4.2; in the header both parts are form-encoded before they are joined (2.3.1)."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    client_id, client_secret = secret["clientId"], secret["clientSecret"]
    if login.in_header:
        joined = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        headers["Authorization"] = "Basic " + base64.b64encode(joined.encode()).decode()
    else:
        form = form | {"client_id": client_id, "client_secret": client_secret}
    return Call("POST", token_url, headers, urlencode(form).encode())


async def _token(request: Call, services: Services, step: Step, *, renew: bool) -> str:
    key = (step.account_id, request.url, request.headers.get("Authorization"), request.body)
    kept = None if renew else services.tokens.find(key)
    if kept is not None:
        return kept
    try:
        answer = await services.http.call(request)
    except CallFailedError as error:
        raise CallFailedError(f"no token: {error}") from None
    if not answer.is_success:
        raise CallFailedError(f"no token: the token URL answered {answer.status}: {answer.excerpt()}")
    try:
        members = json.loads(answer.body)
        token, seconds = members["access_token"], float(members.get("expires_in") or _DEFAULT_LIFETIME_SECONDS)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        token, seconds = None, 0.0
    if not isinstance(token, str) or not token:
        raise CallFailedError("no token: the token URL's answer holds no access_token")
    services.tokens.keep(key, token, min(seconds - _MARGIN_SECONDS, 24 * 3600))
    return token
