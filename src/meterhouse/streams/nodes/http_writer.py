"""writers/http, HTTP: records leave as signed webhooks (Standard Webhooks) once the step has committed.

They are sent in any order, at least once, tried for a day and then parked (see webhooks/deliver).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import msgspec

from meterhouse.outbound import CallFailedError
from meterhouse.rules.records import text_of
from meterhouse.rules.templates import fill
from meterhouse.streams.function import Node, Record, Services, Step, StreamError
from meterhouse.streams.nodes import REACHED
from meterhouse.streams.secret_store import find_secret_id
from meterhouse.webhooks.delivery_store import Letter, add_letters

_encode = msgspec.json.Encoder(decimal_format="number").encode


class HttpWriter:
    """`uri` is filled for each record; `secretId` names a secret of the type signing, else the oldest one signs."""

    type: ClassVar[str] = "writers/http"

    def __init__(self, node: Node) -> None:
        self._name = node.name
        self._uri = node.params.get("uri")
        if not isinstance(self._uri, str) or not self._uri:
            raise StreamError(f"{node.name}: uri must be a text")
        self._secret_id = _secret_id(node)

    async def handle(self, records: Sequence[Record], step: Step) -> None:
        assert step.services is not None, "a worker brings them"
        secret_id = await find_secret_id(step.connection, step.account_id, "signing", self._secret_id)
        if secret_id is None:
            which = f" with the id {self._secret_id}" if self._secret_id else ""
            raise StreamError(
                f"{self._name}: the account has no signing secret{which}:"
                " create it with POST /stream-management/v1/secrets"
            )
        letters = []
        for record in records:
            try:
                letters.append(self._letter(record.payload, step.stream_id, step.services))
            except (CallFailedError, UnicodeEncodeError, RecursionError) as error:
                # The other two: what no request can carry.
                step.reject(record, f"cannot be sent: {error}")
            else:
                step.emit(record, REACHED)
        await add_letters(step.connection, (step.account_id, step.stream_id), secret_id, letters, step.now)

    def _letter(self, payload: Mapping[str, Any], stream_id: UUID, services: Services) -> Letter:
        url = text_of(fill(self._uri, payload))
        services.http.require_callable(url)
        parts = urlsplit(url)
        return Letter(url, uuid5(stream_id, f"{parts.scheme}://{parts.netloc}".lower()), _encode(payload).decode())

    async def flush(self, step: Step, *, final: bool) -> None: ...


def _secret_id(node: Node) -> UUID | None:
    value = node.params.get("secretId")
    if value is None or value == "":
        return None
    try:
        return UUID(str(value))
    except ValueError:
        raise StreamError(f"{node.name}: secretId must be the id of a secret") from None
