"""Secrets that clients carry, and the keys that are derived from the installation's one secret key.

A client's secret is a prefix that scanners recognise, random characters, and a checksum, so that a mistyped or
made-up one is refused without asking the database. Only its keyed hash is stored: a stolen table opens nothing.
"""

import base64
import hashlib
import hmac
import os
import secrets
import string
import zlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meterhouse.settings import Settings, SettingsError

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM_LENGTH = 6  # base62 digits that hold 32 bits
_CLIENT_ID_LENGTH = 32
_SECRET_KEY_MIN_LENGTH = 32

API_KEY_PREFIX = "mhk_"
_API_KEY_RANDOM_LENGTH = 40
_CLIENT_SECRET_PREFIX = "mhs_"  # noqa: S105 - what a secret begins with, not a secret
_CLIENT_SECRET_RANDOM_LENGTH = 54  # 64 characters in all, as the Usage Engine's clients expect


@dataclass(frozen=True, slots=True)
class Secrets:
    """What this installation derives from its secret key: one key per purpose."""

    hash_key: bytes
    fernet: Fernet
    """Encrypts the signing keys in the database."""
    portal_key: bytes
    """Signs portal tokens (HS256)."""

    def hash(self, secret: str) -> bytes:
        return hmac.digest(self.hash_key, secret.encode(), hashlib.sha256)


def derive_secrets(secret_key: str) -> Secrets:
    return Secrets(
        hash_key=_derive(secret_key, b"meterhouse secret hash"),
        fernet=Fernet(base64.urlsafe_b64encode(_derive(secret_key, b"meterhouse signing keys"))),
        portal_key=_derive(secret_key, b"meterhouse portal tokens"),
    )


def _derive(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(secret_key.encode())


def open_secrets(settings: Settings) -> Secrets:
    """From METERHOUSE_SECRET_KEY or <data_dir>/secret.key, which the first start creates."""
    return derive_secrets(settings.secret_key or _read_or_create_key(settings.data_dir / "secret.key"))


def _read_or_create_key(path: Path) -> str:
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _create_key(path)
        content = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"METERHOUSE_SECRET_KEY is not set and {path} cannot be used: {error}") from error
    if len(content) < _SECRET_KEY_MIN_LENGTH:
        raise SettingsError(f"{path}: shorter than {_SECRET_KEY_MIN_LENGTH} characters, so not a secret key")
    return content


def _create_key(path: Path) -> None:
    """The file appears with its whole content or not at all; of several creators the first wins."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_private(draft, secrets.token_urlsafe(48) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def write_private(path: Path, content: str) -> None:
    """A new file that only its owner can read, on disk when this returns."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def random_text(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def new_client_id() -> str:
    return random_text(_CLIENT_ID_LENGTH)


def is_client_id(text: str) -> bool:
    return len(text) == _CLIENT_ID_LENGTH and text.isascii() and text.isalnum()


def new_api_key() -> str:
    return _with_checksum(API_KEY_PREFIX + random_text(_API_KEY_RANDOM_LENGTH))


def is_api_key(text: str) -> bool:
    return _is_well_formed(text, API_KEY_PREFIX, _API_KEY_RANDOM_LENGTH)


def new_client_secret() -> str:
    return _with_checksum(_CLIENT_SECRET_PREFIX + random_text(_CLIENT_SECRET_RANDOM_LENGTH))


def is_client_secret(text: str) -> bool:
    return _is_well_formed(text, _CLIENT_SECRET_PREFIX, _CLIENT_SECRET_RANDOM_LENGTH)


def _is_well_formed(text: str, prefix: str, random_length: int) -> bool:
    return (
        len(text) == len(prefix) + random_length + _CHECKSUM_LENGTH
        and text.startswith(prefix)
        and text.isascii()
        and text.replace("_", "").isalnum()
        and _with_checksum(text[:-_CHECKSUM_LENGTH]) == text
    )


def _with_checksum(text: str) -> str:
    left = zlib.crc32(text.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        left, digit = divmod(left, 62)
        digits = _BASE62[digit] + digits
    return text + digits
