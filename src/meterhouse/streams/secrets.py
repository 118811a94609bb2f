"""/stream-management/v1/secrets: with what the streams of an account log in elsewhere. Written, never read again."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import RowMapping
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted
from meterhouse.database import Transaction
from meterhouse.errors import BadRequestError, NotFoundError, bad_field
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.signatures import read_key
from meterhouse.rules.storable import storable
from meterhouse.streams import secret_store
from meterhouse.wire import JsonReply, decode_json, read_body, validate

router = APIRouter(prefix="/stream-management/v1/secrets")

SecretId = Annotated[UUID, Path(alias="id")]


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL")
    return text


_Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(storable)]
_Text = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(storable)]
_Url = Annotated[str, Field(max_length=2048), AfterValidator(storable), AfterValidator(_url)]


class _Secret(BaseModel):
    """`id` may be chosen, so that documents which name a secret find it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    id: UUID = Field(default_factory=uuid4)
    name: _Name


class OAuth2Secret(_Secret):
    """Where it names a token URL, an audience or a scope, these go before the function's own."""

    type: Literal["oauth2"]
    client_id: _Text
    client_secret: _Text
    token_url: _Url | None = None
    audience: _Text | None = None
    scope: _Text | None = None


class BasicSecret(_Secret):
    type: Literal["basic"]
    username: _Text
    password: _Text


class BearerSecret(_Secret):
    type: Literal["bearer"]
    token: _Text


def _signing(text: str) -> str:
    read_key(text)
    return text


class SigningSecret(_Secret):
    """With which writers of streams sign what they send (Standard Webhooks)."""

    type: Literal["signing"]
    secret: Annotated[str, AfterValidator(_signing)]


AnySecret = OAuth2Secret | BasicSecret | BearerSecret | SigningSecret
_MODELS: dict[str, type[OAuth2Secret] | type[BasicSecret] | type[BearerSecret] | type[SigningSecret]] = {
    "oauth2": OAuth2Secret,
    "basic": BasicSecret,
    "bearer": BearerSecret,
    "signing": SigningSecret,
}


def read_secret(body: bytes) -> AnySecret:
    value = decode_json(body)
    if not isinstance(value, dict):
        raise BadRequestError("the request body must be a JSON object")
    kind = value.get("type")
    model = _MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise bad_field("type", f"must be one of {', '.join(_MODELS)}")
    return validate(model, value)


@router.post("")
async def create_secret(request: Request, caller: Admitted, connection: Transaction) -> Response:
    secret = read_secret(await read_body(request))
    hidden = secret.model_dump(by_alias=True, exclude={"id", "name", "type"}, exclude_none=True)
    encrypted = request.app.state.secrets.fernet.encrypt(msgspec.json.encode(hidden))
    new = secret_store.NewSecret(secret.id, secret.name, secret.type, encrypted)
    return JsonReply(_json(await secret_store.create_secret(connection, caller.account_id, new, clock.now())), 201)


@router.get("")
async def list_secrets(caller: Admitted, connection: Transaction) -> Response:
    rows = await secret_store.list_secrets(connection, caller.account_id)
    return JsonReply({"secrets": [_json(row) for row in rows]})


def _json(row: RowMapping) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "type": row["type"],
        "createdAt": format_milliseconds(row["created_at"]),
    }


@router.delete("/{id}")
async def delete_secret(secret_id: SecretId, caller: Admitted, connection: Transaction) -> Response:
    deleted = await secret_store.delete_secret(connection, caller.account_id, secret_id)
    if not deleted:
        raise NotFoundError(f"secret not found: {secret_id}")
    return JsonReply({"deletedCount": deleted})
