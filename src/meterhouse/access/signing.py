"""The keys that sign access tokens: kept encrypted in the database, shared by all processes.

The newest signs, all verify. A new one is used within RELOAD_SECONDS; one that was superseded is kept for longer than
a token lives, then removed.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt
from jose.backends.base import Key
from jose.constants import ALGORITHMS
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meterhouse import clock
from meterhouse.access.secrets import Secrets, random_text
from meterhouse.settings import SettingsError
from meterhouse.tables import signing_keys

_log = logging.getLogger(__name__)

RELOAD_SECONDS = 60.0
_MIN_RELOAD_SECONDS = 1.0
_RETIRE_AFTER = timedelta(hours=2)
_ROTATE_AFTER = timedelta(days=90)
_FIRST_KEY_LOCK = 5_120_774_632  # any fixed number


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    private: Key
    public: Key


# --- the table ---------------------------------------------------------------------------------------------------


async def list_keys(connection: AsyncConnection) -> list[tuple[str, datetime]]:
    """`(kid, created_at)`, newest first."""
    statement = select(signing_keys.c.kid, signing_keys.c.created_at).order_by(
        signing_keys.c.created_at.desc(), signing_keys.c.kid
    )
    return [(row.kid, row.created_at) for row in await connection.execute(statement)]


async def add_key(connection: AsyncConnection, fernet: Fernet, now: datetime) -> str:
    """A new key, which signs from now on. Returns its kid."""
    pem = await asyncio.to_thread(_new_private_pem)
    values = {"kid": random_text(21), "encrypted_private_key": fernet.encrypt(pem), "created_at": now}
    await connection.execute(insert(signing_keys).values(values))
    return str(values["kid"])


def _new_private_pem() -> bytes:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def read_keys(connection: AsyncConnection, fernet: Fernet) -> list[SigningKey]:
    """Newest first. Raises SettingsError for a wrong secret key."""
    statement = select(signing_keys).order_by(signing_keys.c.created_at.desc(), signing_keys.c.kid)
    rows = (await connection.execute(statement)).all()
    return [_open_key(row.kid, row.encrypted_private_key, fernet) for row in rows]


def _open_key(kid: str, encrypted: bytes, fernet: Fernet) -> SigningKey:
    try:
        pem = fernet.decrypt(encrypted)
    except InvalidToken as error:
        raise SettingsError(
            "METERHOUSE_SECRET_KEY: not the secret key that this database was set up with"
            " (its signing keys cannot be decrypted)"
        ) from error
    private = jwk.construct(pem, ALGORITHMS.RS256)
    return SigningKey(kid, private, private.public_key())


async def ensure_fresh_key(connection: AsyncConnection, fernet: Fernet, now: datetime) -> bool:
    """Adds a key if there is none or the newest is old. Of several processes one adds it, the others wait.

    Raises SettingsError for a wrong secret key: what is added under another one could not be read by the others.
    """
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_KEY_LOCK})
    created = [created_at for _, created_at in await list_keys(connection)]
    if created and max(created) > now - _ROTATE_AFTER:
        return False
    await read_keys(connection, fernet)
    await add_key(connection, fernet, now)
    return True


async def retire_keys(connection: AsyncConnection, now: datetime) -> int:
    """Removes the keys that were superseded so long ago that no token of theirs is valid. Returns how many."""
    superseded_at = func.lead(signing_keys.c.created_at).over(order_by=(signing_keys.c.created_at, signing_keys.c.kid))
    keys = select(signing_keys.c.kid, superseded_at.label("superseded_at")).subquery()
    old = select(keys.c.kid).where(keys.c.superseded_at < now - _RETIRE_AFTER)
    return (await connection.execute(delete(signing_keys).where(signing_keys.c.kid.in_(old)))).rowcount


# --- in a process ------------------------------------------------------------------------------------------------


class SigningKeys:
    """The keys as this process last read them."""

    def __init__(self, engine: AsyncEngine, secrets: Secrets) -> None:
        self._engine = engine
        self._fernet = secrets.fernet
        self._keys: dict[str, SigningKey] = {}  # newest first
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def start(self) -> None:
        """Makes the installation's first key if there is none. Raises SettingsError for a wrong secret key."""
        async with self._engine.begin() as connection:
            await ensure_fresh_key(connection, self._fernet, clock.real_now())
        await self.load()

    async def load(self) -> None:
        started_at = _loop_seconds()
        async with self._engine.connect() as connection:
            self._keys = {key.kid: key for key in await read_keys(connection, self._fernet)}
        self._loaded_at = started_at

    async def _reload(self, not_before: float) -> None:
        """Keys read at `not_before` or later, at most one read a second; while the database is away, the last ones."""
        async with self._loading:
            if self._loaded_at >= not_before:
                return
            await asyncio.sleep(self._loaded_at + _MIN_RELOAD_SECONDS - _loop_seconds())
            try:
                await self.load()
            except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
                _log.warning("signing keys cannot be read: %s", error)
                self._loaded_at = _loop_seconds()

    async def sign(self, claims: Mapping[str, Any]) -> str:
        await self._reload(_loop_seconds() - RELOAD_SECONDS)
        newest = next(iter(self._keys.values()))
        return jwt.encode(dict(claims), newest.private, ALGORITHMS.RS256, headers={"kid": newest.kid})

    async def public_key(self, kid: str) -> Key | None:
        """None: nobody has such a key. That is said only after a look at the database: another process may have
        signed with a key that is younger than our last look.
        """
        now = _loop_seconds()
        await self._reload(now - RELOAD_SECONDS if kid in self._keys else now)
        key = self._keys.get(kid)
        return key.public if key else None

    async def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        await self._reload(_loop_seconds() - _MIN_RELOAD_SECONDS)
        return {"keys": [key.public.to_dict() | {"kid": key.kid, "use": "sig"} for key in self._keys.values()]}


def _loop_seconds() -> float:
    """Ages are measured in the event loop's seconds, which no clock change moves."""
    return asyncio.get_running_loop().time()
