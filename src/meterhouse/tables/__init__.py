"""Every table, key and index, by noun. The tenant's key (`account_id`) leads every primary and unique key."""

from meterhouse.tables.access import accounts, client_secrets, clients, signing_keys
from meterhouse.tables.buckets import (
    bucket_meters,
    buckets,
    customer_subjects,
    customers,
    event_conflicts,
    event_seq_blocks,
    events,
)
from meterhouse.tables.delivery import deliveries, webhooks
from meterhouse.tables.metering import awaiting_records, meter_types, metered_record_heads, metered_records, meters
from meterhouse.tables.runs import (
    account_secrets,
    collector_reads,
    rejected_records,
    stream_dedup_keys,
    stream_log,
    stream_nodes,
    stream_outputs,
    stream_persist,
    stream_runs,
)
from meterhouse.tables.sandbox import sandbox_clock
from meterhouse.tables.schema import metadata
from meterhouse.tables.streams import aggregation_sessions, collectors, inbox, inbox_seq, stream_versions, streams

__all__ = [
    "account_secrets",
    "accounts",
    "aggregation_sessions",
    "awaiting_records",
    "bucket_meters",
    "buckets",
    "client_secrets",
    "clients",
    "collector_reads",
    "collectors",
    "customer_subjects",
    "customers",
    "deliveries",
    "event_conflicts",
    "event_seq_blocks",
    "events",
    "inbox",
    "inbox_seq",
    "metadata",
    "meter_types",
    "metered_record_heads",
    "metered_records",
    "meters",
    "rejected_records",
    "sandbox_clock",
    "signing_keys",
    "stream_dedup_keys",
    "stream_log",
    "stream_nodes",
    "stream_outputs",
    "stream_persist",
    "stream_runs",
    "stream_versions",
    "streams",
    "webhooks",
]
