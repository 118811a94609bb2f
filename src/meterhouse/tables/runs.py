"""Runs of streams, and what their functions remember."""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from meterhouse.tables.schema import instant, metadata

# --- runs of streams ------------------------------------------------------------------------------------------------


def _of_stream() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id", "stream_id"], ["streams.account_id", "streams.id"], ondelete="CASCADE")


# What a Meter processor or an aggregation store is called outside, stable for the node over every replacing import.
stream_nodes = Table(
    "stream_nodes",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("meter_key", Text, nullable=True),
    Column("store_id", Text, nullable=True),
    PrimaryKeyConstraint("account_id", "stream_id", "node_id"),
    UniqueConstraint("account_id", "meter_key"),
    _of_stream(),
)

# A batch run, or a real-time stream from deploy to undeploy. The row is locked while a step of it is under way.
stream_runs = Table(
    "stream_runs",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),  # batch | realtime
    Column("status", Text, nullable=False),  # running | completed | aborted | failed
    Column("document", Text, nullable=False),  # of the version that runs
    Column("nodes", JSONB, nullable=False),  # node id → in, out, rejected
    Column("state", JSONB, nullable=False),
    Column("audit", JSONB, nullable=False),
    Column("error", Text, nullable=True),
    Column("failures", Integer, nullable=False),  # steps in a row that failed for no fault of the stream
    instant("started_at"),
    instant("ended_at", nullable=True),
    instant("stepped_at"),  # not before next_step_at: there is more to do at once
    instant("next_step_at"),
    instant("flushed_at"),
    CheckConstraint("kind IN ('batch', 'realtime')", "kind"),
    CheckConstraint("status IN ('running', 'completed', 'aborted', 'failed')", "status"),
    PrimaryKeyConstraint("account_id", "id"),
    _of_stream(),
    Index(
        "stream_runs_running_key",
        "account_id",
        "stream_id",
        unique=True,
        postgresql_where=text("status = 'running'"),
    ),
    Index("stream_runs_by_stream_idx", "account_id", "stream_id", "started_at"),
    # Across accounts: workers step everybody's runs.
    Index("stream_runs_next_step_idx", "next_step_at", postgresql_where=text("status = 'running'")),
    Index("stream_runs_ended_at_idx", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)


def _of_run() -> list[Column[object] | PrimaryKeyConstraint | ForeignKeyConstraint]:
    return [
        Column("account_id", Uuid, nullable=False),
        Column("run_id", Uuid, nullable=False),
        Column("line_no", BigInteger, Identity(always=True), nullable=False),
        Column("node_id", Text, nullable=False),
        PrimaryKeyConstraint("account_id", "run_id", "line_no"),
        ForeignKeyConstraint(
            ["account_id", "run_id"], ["stream_runs.account_id", "stream_runs.id"], ondelete="CASCADE"
        ),
    ]


# The records that reached each writer. These and the log are deleted by their age, across accounts.
stream_outputs = Table(
    "stream_outputs",
    metadata,
    *_of_run(),
    Column("payload", JSON, nullable=False),
    instant("reached_at"),
    Index("stream_outputs_reached_at_idx", "reached_at"),
)

stream_log = Table(
    "stream_log",
    metadata,
    *_of_run(),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
    instant("logged_at"),
    Index("stream_log_logged_at_idx", "logged_at"),
)

# What each run has read of a collector. A stream goes on behind the last of all its runs.
collector_reads = Table(
    "collector_reads",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("collector_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "stream_id", "collector_id", "run_id"),
    _of_stream(),
    Index("collector_reads_by_collector_idx", "account_id", "collector_id"),
)

REJECTED_RECORDS_KEPT = "6 months"
"""Since they were touched last, as an interval of the database."""

# Data correction: what a function rejected, until it is corrected, sent in again, or deleted.
rejected_records = Table(
    "rejected_records",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("node_name", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("ingestion_id", Uuid, nullable=True),  # where it was sent to a collector
    Column("payload", JSON, nullable=False),
    Column("meta", JSON, nullable=False),
    Column("status", Text, nullable=False),  # open | queued
    instant("created_at"),
    instant("updated_at"),
    CheckConstraint("status IN ('open', 'queued')", "status"),
    PrimaryKeyConstraint("account_id", "id"),
    _of_stream(),
    Index("rejected_records_by_stream_idx", "account_id", "stream_id", "status", "created_at"),
    Index("rejected_records_by_ingestion_idx", "account_id", "ingestion_id"),
    Index("rejected_records_updated_at_idx", "updated_at"),
)

# --- what functions of streams remember -----------------------------------------------------------------------------

# A key is the SHA-256 of what a Deduplicate function makes of a record.
stream_dedup_keys = Table(
    "stream_dedup_keys",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    instant("expires_at"),
    CheckConstraint("octet_length(key_hash) = 32", "key_hash"),
    PrimaryKeyConstraint("account_id", "stream_id", "node_id", "key_hash"),
    # Across accounts: one worker deletes what has expired.
    Index("stream_dedup_keys_expires_at_idx", "expires_at"),
)

# --- what scripts keep ----------------------------------------------------------------------------------------------

# `scope` is '' for what all scripts of the account share, and <stream id>/<node id> for what is one function's own.
stream_persist = Table(
    "stream_persist",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", JSONB, nullable=False),
    CheckConstraint("char_length(key) BETWEEN 1 AND 512", "key"),
    PrimaryKeyConstraint("account_id", "scope", "key"),
)

# --- how streams log in elsewhere -----------------------------------------------------------------------------------

account_secrets = Table(
    "account_secrets",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),  # oauth2 | basic | bearer | signing
    Column("encrypted", LargeBinary, nullable=False),
    instant("created_at"),
    CheckConstraint("type IN ('oauth2', 'basic', 'bearer', 'signing')", "type"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)
