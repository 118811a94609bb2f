"""The first start: an account with something to call with and something that counts."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from meterhouse import clock
from meterhouse.access.bootstrap import FirstAccount, make_first_account
from meterhouse.access.secrets import Secrets, open_secrets, random_text, write_private
from meterhouse.collectors.store import create_collector
from meterhouse.database import make_engine
from meterhouse.settings import Settings, SettingsError
from meterhouse.streams import run_store, store
from meterhouse.streams.imports import Import, import_stream


@dataclass(frozen=True, slots=True)
class Credentials:
    """The only time that these secrets are seen."""

    account: FirstAccount
    audience: str
    collector_id: UUID
    meter_key: str

    def as_json(self) -> dict[str, str]:
        return {
            "accountId": str(self.account.account_id),
            "clientId": self.account.client_id,
            "clientSecret": self.account.client_secret,
            "audience": self.audience,
            "apiKey": self.account.api_key,
            "bucketId": self.account.bucket_id,
            "collectorId": str(self.collector_id),
            "meterKey": self.meter_key,
        }


def credentials_path(settings: Settings) -> Path:
    return settings.data_dir / "credentials.json"


async def start_first(settings: Settings) -> Credentials | None:
    """`bootstrap` on the database that is set, whose schema is current."""
    assert settings.database_url is not None, "checked by the command"
    engine = make_engine(settings.database_url, pool_size=2)
    try:
        return await bootstrap(engine, open_secrets(settings), settings, clock.now())
    except OSError as error:
        raise SettingsError(f"METERHOUSE_DATA_DIR: cannot keep credentials in {settings.data_dir}: {error}") from error
    finally:
        await engine.dispose()


async def bootstrap(engine: AsyncEngine, secrets: Secrets, settings: Settings, now: datetime) -> Credentials | None:
    """None: there was an account already. Safe to call from several processes at once."""
    async with engine.begin() as connection:
        account = await make_first_account(connection, secrets, now)
        if account is None:
            return None
        collector = await create_collector(connection, account.account_id, "Default", now)
        meter_key = await _deploy_default_stream(connection, account.account_id, collector["id"], now)
        credentials = Credentials(account, settings.audience, collector["id"], meter_key)
        # Before the commit: after it, a crash would lose the only copy.
        _write(credentials_path(settings), credentials)
    return credentials


async def _deploy_default_stream(
    connection: AsyncConnection, account_id: UUID, collector_id: UUID, now: datetime
) -> str:
    """The key of its Meter processor."""
    document = json.dumps(_default_metering(collector_id))
    made = await import_stream(connection, account_id, Import(document, None, False, None, None), now)
    await store.mark_deployed(connection, account_id, made["id"], None)
    await run_store.insert_run(connection, account_id, run_store.NewRun(made["id"], "realtime", document), now)
    (meter_key,) = made["meterKeys"].values()
    return str(meter_key)


def _default_metering(collector_id: UUID) -> dict[str, Any]:
    """All that is sent to the collector moves the meters of the category DEFAULT."""
    rule = {"ignoreCondition": True, "conditionRelation": "and", "conditions": [], "matchCategory": "DEFAULT"}
    metering = {
        "flushType": "TIMEOUT",
        "guidingRules": [rule | {"groupBy": [], "otherOperations": []}],
        "multiOutput": {"fixed": {name: {"id": f"meter-{name}"} for name in ("reset", "threshold")}},
    }
    functions = [
        ("collect", "readers/online_collection", 1, "Online collector", {"collectorId": str(collector_id)}),
        ("meter", "transforms/meter", 2, "Meter", metering),
        ("log", "writers/log", 1, "Log", {}),
    ]
    wires: list[tuple[str, str, dict[str, str]]] = [("collect", "meter", {})]
    wires += [("meter", "log", {"output": f"meter-{name}"}) for name in ("reset", "threshold")]
    return {
        "name": "Default metering",
        "description": "What is sent to the collector Default moves meters whose type has the category DEFAULT.",
        "nodes": [
            {"id": node_id, "type": kind, "schemaVersion": version, "name": name, "params": params, "x": x, "y": 100}
            for x, (node_id, kind, version, name, params) in zip((100, 300, 500), functions, strict=True)
        ],
        "edges": [
            {"id": f"edge-{number}", "from": source, "to": target, "config": {}} | output
            for number, (source, target, output) in enumerate(wires, 1)
        ],
        "nodeGroups": [],
    }


def _write(path: Path, credentials: Credentials) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{random_text(16)}")
    write_private(draft, json.dumps(credentials.as_json(), indent=2) + "\n")
    draft.replace(path)
