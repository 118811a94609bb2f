"""JSON of webhooks and of what is to be delivered, in and out."""

import secrets
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import RowMapping

from meterhouse.meter_types.payloads import NOT_NULL, Body, Line
from meterhouse.paging import Page
from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.signatures import read_key, write_secret
from meterhouse.rules.storable import storable
from meterhouse.webhooks.delivery_store import Status

MAX_URL = 2_048
MAX_METER_KEYS = 100
MAX_IDS = 1_000
TYPES = ("reset", "threshold")

_NEW_KEY_BYTES = 32


def new_secret() -> str:
    return write_secret(secrets.token_bytes(_NEW_KEY_BYTES))


# --- what is read ------------------------------------------------------------------------------------------------


def _secret(text: str) -> str:
    read_key(text)
    return text


def _no_space(text: str) -> str:
    if any(character.isspace() for character in text):
        raise ValueError("must not contain blanks")
    return text


def _distinct(items: list[str]) -> list[str]:
    if len(set(items)) < len(items):
        raise ValueError("must not name one twice")
    return items


_Text = Annotated[Line, AfterValidator(storable)]
_Url = Annotated[_Text, Field(min_length=1, max_length=MAX_URL), AfterValidator(_no_space)]
_Types = Annotated[list[Literal["reset", "threshold"]], Field(min_length=1), AfterValidator(_distinct)]
_MeterKeys = Annotated[
    list[Annotated[_Text, Field(min_length=1, max_length=36)]],
    Field(min_length=1, max_length=MAX_METER_KEYS),
    AfterValidator(_distinct),
]
Secret = Annotated[str, AfterValidator(_secret)]


class WebhookUpdate(Body):
    """Null takes the description away, and makes the webhook one for all meter keys."""

    url: Annotated[_Url | None, NOT_NULL] = None
    description: Annotated[_Text, Field(max_length=200)] | None = None
    types: Annotated[_Types | None, NOT_NULL] = None
    meter_keys: _MeterKeys | None = None
    status: Annotated[Literal["ACTIVE", "DISABLED"] | None, NOT_NULL] = None

    def columns(self) -> dict[str, Any]:
        """What the body sets."""
        return {name: getattr(self, name) for name in WebhookUpdate.model_fields if name in self.model_fields_set}


class WebhookBody(WebhookUpdate):
    """A whole webhook: what it does not say is as if it had never been said. Only the secret stays."""

    url: _Url
    secret: Annotated[Secret | None, NOT_NULL] = None

    def columns(self) -> dict[str, Any]:
        unset = {"description": None, "types": list(TYPES), "meter_keys": None, "status": "ACTIVE"}
        return unset | super().columns()


class RotationBody(Body):
    secret: Annotated[Secret | None, NOT_NULL] = None


class DeliveryPage(Page):
    status: Status | None = None


class ChosenDeliveries(Body):
    """Without ids: all that are parked."""

    ids: Annotated[
        Annotated[list[Annotated[_Text, Field(max_length=100)]], Field(min_length=1, max_length=MAX_IDS)] | None,
        NOT_NULL,
    ] = None


# --- what is answered --------------------------------------------------------------------------------------------


def webhook_json(row: RowMapping) -> dict[str, Any]:
    body = {
        "id": row["id"],
        "url": row["url"],
        "description": row["description"],
        "types": sorted(row["types"]),
        "meterKeys": row["meter_keys"],
        "status": row["status"],
        "createdAt": format_milliseconds(row["created_at"]),
        "updatedAt": format_milliseconds(row["updated_at"]),
    }
    return {name: value for name, value in body.items() if value is not None}


def delivery_json(row: RowMapping) -> dict[str, Any]:
    """Members that do not apply are left out: a webhook's has a record of a meter, a stream's has a URL."""
    instants = {
        "createdAt": row["created_at"],
        "firstAttemptAt": row["first_attempt_at"],
        "nextAttemptAt": row["next_attempt_at"],
    }
    body = {
        "id": row["message_id"],
        "status": row["status"],
        "recordNo": row["record_no"],
        "meterId": row["order_key"],
        "url": row["url"],
        "attempts": row["attempts"],
        **{name: None if instant is None else format_milliseconds(instant) for name, instant in instants.items()},
        "lastError": row["last_error"],
    }
    return {name: value for name, value in body.items() if value is not None}
