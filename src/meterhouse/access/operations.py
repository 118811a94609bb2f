"""ONE table: operation → the scope it needs and how often one client may call it.

An operation's name is its route function's name, its operation id in the OpenAPI document, its key in
METERHOUSE_RATE_LIMITS and the name of its policy in the RateLimit headers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meterhouse.settings import Rate, Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Operation:
    """`scope` None: the operation asks for no scope of a client (it has a check of its own)."""

    scope: str | None
    rate: Rate


_ORDINARY = Rate(requests=10_000, window_seconds=300, burst=1_000)
_EVENTS = Rate(requests=300_000, window_seconds=300, burst=1_000)
_METER_TYPES = Rate(requests=5_000, window_seconds=300, burst=100)
_METERS = Rate(requests=10_000, window_seconds=300, burst=10_000)
_COLLECTORS = Rate(requests=1_000, window_seconds=300, burst=100)
_COLLECTOR_CHANGES = Rate(requests=5, window_seconds=5, burst=1)
_SENDS = Rate(requests=300_000, window_seconds=300, burst=1_000)
_STREAMS = Rate(requests=5_000, window_seconds=300, burst=100)
_TOKENS = Rate(requests=1_000, window_seconds=300, burst=1_000)
# Wrong secrets from one address for one client; enough for a person who pastes the wrong one.
_FAILED_LOGINS = Rate(requests=10, window_seconds=60, burst=10)

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "create_access_token": Operation(None, _TOKENS),
        "failed_login": Operation(None, _FAILED_LOGINS),
        "list_meter_types": Operation("read:meter_types", _METER_TYPES),
        "create_meter_type": Operation("create:meter_types", _METER_TYPES),
        "delete_meter_type": Operation("delete:meter_types", _METER_TYPES),
        "get_meter_type": Operation("read:meter_types", _METER_TYPES),
        "update_meter_type": Operation("update:meter_types", _METER_TYPES),
        "list_meters": Operation("read:meters", _METERS),
        "create_meter": Operation("create:meters", _METERS),
        "delete_meter": Operation("delete:meters", _METERS),
        "get_meter": Operation("read:meters", _METERS),
        "update_meter": Operation("update:meters", _METERS),
        # Ours: schedules tried out, statements of periods, and all that meters have sent.
        "preview_meter_type": Operation("read:meter_types", _METER_TYPES),
        "list_meter_periods": Operation("read:meters", _METERS),
        "list_metered_records": Operation("read:meters", _METERS),
        # Ours: where metered records are sent.
        "list_webhooks": Operation("read:webhooks", _ORDINARY),
        "create_webhook": Operation("create:webhooks", _ORDINARY),
        "put_webhook": Operation("create:webhooks", _ORDINARY),
        "get_webhook": Operation("read:webhooks", _ORDINARY),
        "update_webhook": Operation("update:webhooks", _ORDINARY),
        "delete_webhook": Operation("delete:webhooks", _ORDINARY),
        "rotate_webhook_secret": Operation("update:webhooks", _ORDINARY),
        "list_webhook_deliveries": Operation("read:webhooks", _ORDINARY),
        "retry_webhook_deliveries": Operation("update:webhooks", _ORDINARY),
        "list_collectors": Operation("read:collectors", _COLLECTORS),
        "create_collector": Operation("create:collectors", _COLLECTOR_CHANGES),
        "delete_collector": Operation("delete:collectors", _COLLECTOR_CHANGES),
        "get_collector": Operation("read:collectors", _COLLECTORS),
        "update_collector": Operation("update:collectors", _COLLECTOR_CHANGES),
        "send_data": Operation("send:data", _SENDS),
        # Ours: whether what was sent is stored.
        "get_ingestion": Operation("read:collectors", _ORDINARY),
        "export_stream": Operation("read:streams", _STREAMS),
        "list_stream_versions": Operation("read:streams", _STREAMS),
        "tag_stream_version": Operation("update:streams", _STREAMS),
        "delete_stream_version": Operation("delete:streams", _STREAMS),
        "import_stream": Operation("create:streams", _STREAMS),
        "list_streams": Operation("read:streams", _STREAMS),
        "get_stream": Operation("read:streams", _STREAMS),
        "delete_stream": Operation("delete:streams", _STREAMS),
        "deploy_stream": Operation("update:streams", _STREAMS),
        "undeploy_stream": Operation("update:streams", _STREAMS),
        "start_stream": Operation("update:streams", _STREAMS),
        "list_stream_runs": Operation("read:streams", _STREAMS),
        "get_stream_run": Operation("read:streams", _STREAMS),
        "get_stream_run_log": Operation("read:streams", _STREAMS),
        "list_stream_run_outputs": Operation("read:streams", _STREAMS),
        "list_stream_deliveries": Operation("read:streams", _STREAMS),
        "retry_stream_deliveries": Operation("update:streams", _STREAMS),
        "delete_stream_deliveries": Operation("delete:streams", _STREAMS),
        "list_rejected_records": Operation("read:data_correction", _STREAMS),
        "correct_rejected_records": Operation("update:data_correction", _STREAMS),
        "requeue_rejected_records": Operation("update:data_correction", _STREAMS),
        "delete_rejected_records": Operation("update:data_correction", _STREAMS),
        "create_secret": Operation("create:streams", _STREAMS),
        "list_secrets": Operation("read:streams", _STREAMS),
        "delete_secret": Operation("delete:streams", _STREAMS),
        "lookup_aggregation_session": Operation("read:aggregation_sessions", _ORDINARY),
        "list_buckets": Operation("read:buckets", _ORDINARY),
        "create_bucket": Operation("create:buckets", _ORDINARY),
        "get_bucket": Operation("read:buckets", _ORDINARY),
        "delete_bucket": Operation("delete:buckets", _ORDINARY),
        "list_bucket_meters": Operation("read:bucket_meters", _ORDINARY),
        "create_bucket_meter": Operation("create:bucket_meters", _ORDINARY),
        "get_bucket_meter": Operation("read:bucket_meters", _ORDINARY),
        "update_bucket_meter": Operation("update:bucket_meters", _ORDINARY),
        "delete_bucket_meter": Operation("delete:bucket_meters", _ORDINARY),
        "query_bucket_meter": Operation("read:usage", _ORDINARY),
        "query_bucket_meter_post": Operation("read:usage", _ORDINARY),
        "list_bucket_meter_group_by_values": Operation("read:usage", _ORDINARY),
        "list_bucket_meter_subjects": Operation("read:usage", _ORDINARY),
        "ingest_events": Operation("send:events", _EVENTS),
        "list_events": Operation("read:events", _ORDINARY),
        "list_events_v2": Operation("read:events", _ORDINARY),
        "list_customers": Operation("read:customers", _ORDINARY),
        "create_customer": Operation("create:customers", _ORDINARY),
        "get_customer": Operation("read:customers", _ORDINARY),
        "update_customer": Operation("update:customers", _ORDINARY),
        "delete_customer": Operation("delete:customers", _ORDINARY),
        "create_portal_token": Operation("create:portal_tokens", _ORDINARY),
        "list_portal_tokens": Operation("create:portal_tokens", _ORDINARY),
        "invalidate_portal_tokens": Operation("create:portal_tokens", _ORDINARY),
        # Of sandboxes alone, and there of every known caller: the clock belongs to no account.
        "get_clock": Operation(None, _ORDINARY),
        "move_clock": Operation(None, _ORDINARY),
        "advance_clock": Operation(None, _ORDINARY),
        "settle_sandbox": Operation(None, _ORDINARY),
        # Carries a portal token, which is its own permission.
        "query_portal_meter": Operation(None, _ORDINARY),
    }
)


def _crud(noun: str) -> list[str]:
    return [f"{verb}:{noun}" for verb in ("create", "read", "update", "delete")]


# What an API key may hold; alphabetical, as the Usage Engine prints scopes.
BUCKET_SCOPES: tuple[str, ...] = tuple(
    sorted(
        [
            *_crud("buckets"),
            *_crud("bucket_meters"),
            *_crud("customers"),
            "send:events",
            "read:events",
            "read:usage",
            "create:portal_tokens",
        ]
    )
)

# What an application may hold: the above and the Usage Engine's own (reference: its 1.2).
ALL_SCOPES: tuple[str, ...] = tuple(
    sorted(
        [
            *BUCKET_SCOPES,
            *_crud("meter_types"),
            *_crud("meters"),
            *_crud("webhooks"),
            *_crud("collectors"),
            "send:data",
            *_crud("streams"),
            "read:data_correction",
            "update:data_correction",
            "read:aggregation_sessions",
        ]
    )
)


def effective_rates(settings: Settings) -> Mapping[str, Rate] | None:
    """Operation → rate, the installation's laid over the defaults; None when limits are off."""
    if settings.rate_limits == "off":
        return None
    unknown = sorted(settings.rate_limits.keys() - OPERATIONS.keys())
    if unknown:
        raise SettingsError(f"METERHOUSE_RATE_LIMITS: no operation is called {unknown[0]!r}")
    return {name: operation.rate for name, operation in OPERATIONS.items()} | settings.rate_limits
