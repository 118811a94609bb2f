"""/usage-metering/v1/webhooks: where metered records are sent, and what could not be delivered there."""

from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from meterhouse import clock
from meterhouse.access.gate import Admitted, require_scope
from meterhouse.database import Transaction
from meterhouse.errors import NotFoundError, bad_field
from meterhouse.outbound import CallFailedError, require_callable
from meterhouse.paging import Page
from meterhouse.rules.instants import format_milliseconds
from meterhouse.webhooks import delivery_store, store
from meterhouse.webhooks.delivery_store import Owner
from meterhouse.webhooks.payloads import (
    ChosenDeliveries,
    DeliveryPage,
    RotationBody,
    WebhookBody,
    WebhookUpdate,
    delivery_json,
    new_secret,
    webhook_json,
)
from meterhouse.wire import JsonReply, read_model

OVERLAP = timedelta(hours=24)
"""How long a secret that was replaced signs too."""

router = APIRouter(prefix="/usage-metering/v1/webhooks")

WebhookId = Annotated[UUID, Path(alias="id")]
AnyBody = TypeVar("AnyBody", bound=WebhookUpdate)


@router.get("")
async def list_webhooks(caller: Admitted, connection: Transaction, page: Annotated[Page, Query()]) -> Response:
    rows = await store.list_webhooks(connection, caller.account_id, page)
    return JsonReply({"webhooks": [webhook_json(row) for row in rows]})


@router.post("")
async def create_webhook(request: Request, caller: Admitted, connection: Transaction) -> Response:
    body = await _read(request, WebhookBody)
    await store.lock_account(connection, caller.account_id)
    return await _create(request, connection, caller.account_id, body)


@router.put("")
async def put_webhook(request: Request, caller: Admitted, connection: Transaction) -> Response:
    """The account's webhook with this URL is as the body says, whether or not there was one."""
    body = await _read(request, WebhookBody)
    await store.lock_account(connection, caller.account_id)
    present = await store.lock_webhook_at(connection, caller.account_id, body.url)
    if present is None:
        return await _create(request, connection, caller.account_id, body)
    require_scope(caller, "update:webhooks", "the webhook exists: to replace it")
    fernet: Fernet = request.app.state.secrets.fernet
    columns, shown = body.columns(), {}
    if body.secret is not None and not _is_present(body.secret, fernet, present):
        columns |= _rotated(body.secret, fernet, present, clock.now())
        shown = {"secret": body.secret}
    row = await _update(connection, present, columns)
    return JsonReply(webhook_json(row) | shown)


async def _read(request: Request, model: type[AnyBody]) -> AnyBody:
    body = await read_model(request, model)
    if body.url is not None:
        try:
            require_callable(body.url, request.app.state.settings.http_hosts)
        except CallFailedError as error:
            raise bad_field("url", str(error)) from None
    return body


async def _create(request: Request, connection: AsyncConnection, account_id: UUID, body: WebhookBody) -> Response:
    secret = body.secret or new_secret()
    columns = body.columns() | {"encrypted_secret": request.app.state.secrets.fernet.encrypt(secret.encode())}
    row = await store.create_webhook(connection, account_id, columns, clock.now())
    return JsonReply(webhook_json(row) | {"secret": secret}, 201)


def _is_present(secret: str, fernet: Fernet, row: RowMapping) -> bool:
    try:
        return fernet.decrypt(row["encrypted_secret"]) == secret.encode()
    except InvalidToken:  # stored under another METERHOUSE_SECRET_KEY: nobody knows it
        return False


def _rotated(secret: str, fernet: Fernet, row: RowMapping, now: datetime) -> dict[str, Any]:
    return {
        "encrypted_secret": fernet.encrypt(secret.encode()),
        "encrypted_previous_secret": row["encrypted_secret"],
        "previous_secret_expires_at": now + OVERLAP,
    }


async def _update(connection: AsyncConnection, locked: RowMapping, columns: dict[str, Any]) -> RowMapping:
    account_id, webhook_id, now = locked["account_id"], locked["id"], clock.now()
    row = await store.update_webhook(connection, account_id, webhook_id, columns | {"updated_at": now})
    if (locked["status"], row["status"]) == ("DISABLED", "ACTIVE"):
        await delivery_store.resume(connection, Owner(account_id, "webhook", webhook_id), now)
    return row


@router.get("/{id}")
async def get_webhook(webhook_id: WebhookId, caller: Admitted, connection: Transaction) -> Response:
    return JsonReply(webhook_json(await _require_webhook(connection, caller.account_id, webhook_id)))


async def _require_webhook(connection: AsyncConnection, account_id: UUID, webhook_id: UUID) -> RowMapping:
    row = await store.find_webhook(connection, account_id, webhook_id)
    if row is None:
        raise _not_found(webhook_id)
    return row


def _not_found(webhook_id: UUID) -> NotFoundError:
    return NotFoundError(f"webhook not found: {webhook_id}")


@router.patch("/{id}")
async def update_webhook(
    request: Request, webhook_id: WebhookId, caller: Admitted, connection: Transaction
) -> Response:
    body = (await _read(request, WebhookUpdate)).require_member()
    present = await _lock(connection, caller.account_id, webhook_id)
    return JsonReply(webhook_json(await _update(connection, present, body.columns())))


async def _lock(connection: AsyncConnection, account_id: UUID, webhook_id: UUID) -> RowMapping:
    row = await store.lock_webhook(connection, account_id, webhook_id)
    if row is None:
        raise _not_found(webhook_id)
    return row


@router.delete("/{id}")
async def delete_webhook(webhook_id: WebhookId, caller: Admitted, connection: Transaction) -> Response:
    """What was still to be delivered to it goes with it; the records stay in the feed."""
    deleted = await store.delete_webhook(connection, caller.account_id, webhook_id)
    if not deleted:
        raise _not_found(webhook_id)
    return JsonReply({"deletedCount": deleted})


@router.post("/{id}/rotate-secret")
async def rotate_webhook_secret(
    request: Request, webhook_id: WebhookId, caller: Admitted, connection: Transaction
) -> Response:
    """The one before signs too while receivers change over; the one before that no longer does."""
    body = await read_model(request, RotationBody, default={})
    present = await _lock(connection, caller.account_id, webhook_id)
    secret = body.secret or new_secret()
    columns = _rotated(secret, request.app.state.secrets.fernet, present, clock.now())
    row = await _update(connection, present, columns)
    expires_at = format_milliseconds(row["previous_secret_expires_at"])
    return JsonReply(webhook_json(row) | {"secret": secret, "previousSecretExpiresAt": expires_at})


@router.get("/{id}/deliveries")
async def list_webhook_deliveries(
    webhook_id: WebhookId, caller: Admitted, connection: Transaction, page: Annotated[DeliveryPage, Query()]
) -> Response:
    await _require_webhook(connection, caller.account_id, webhook_id)
    owner = Owner(caller.account_id, "webhook", webhook_id)
    rows = await delivery_store.list_deliveries(connection, owner, page.status, page)
    return JsonReply({"deliveries": [delivery_json(row) for row in rows]})


@router.post("/{id}/deliveries/retry")
async def retry_webhook_deliveries(
    request: Request, webhook_id: WebhookId, caller: Admitted, connection: Transaction
) -> Response:
    """Those that are parked, or of them the ones with these ids, are due at once and have another day."""
    body = await read_model(request, ChosenDeliveries, default={})
    await _require_webhook(connection, caller.account_id, webhook_id)
    owner = Owner(caller.account_id, "webhook", webhook_id)
    return JsonReply({"retriedCount": await delivery_store.retry_parked(connection, owner, body.ids, clock.now())})
