"""Signatures of Standard Webhooks (standardwebhooks.com): what a receiver verifies a delivery by."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64


def read_key(secret: str) -> bytes:
    """The key that a secret stands for. ValueError says what is wrong with it, without quoting it."""
    wanted = f"must be {PREFIX} and the base64 of {MIN_BYTES} to {MAX_BYTES} bytes"
    if not secret.startswith(PREFIX):
        raise ValueError(wanted)
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(wanted) from None
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise ValueError(wanted)
    return key


def write_secret(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()


def sign(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: one signature for each key. `timestamp`: seconds, as in webhook-timestamp."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys)
