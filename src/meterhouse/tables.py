"""Every table, key and index on one page. The tenant's key (`account_id`) leads every primary and unique key."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _instant(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


# --- who calls ---------------------------------------------------------------------------------------------------

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    _instant("created_at"),
    _instant("revoked_at", nullable=True),
)

# Applications (OAuth clients) and API keys alike: who may call, what, and for API keys of one bucket, where.
clients = Table(
    "clients",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # application | api_key
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("bucket_no", Integer, nullable=True),
    _instant("created_at"),
    _instant("revoked_at", nullable=True),
    CheckConstraint("kind IN ('application', 'api_key')", "kind"),
    PrimaryKeyConstraint("account_id", "client_id"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    ForeignKeyConstraint(["account_id", "bucket_no"], ["buckets.account_id", "buckets.bucket_no"]),
    Index("clients_client_id_idx", "client_id"),
)

# One client may hold several secrets while one replaces another. Only keyed hashes are kept.
client_secrets = Table(
    "client_secrets",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    _instant("created_at"),
    _instant("expires_at", nullable=True),
    PrimaryKeyConstraint("account_id", "client_id", "secret_hash"),
    ForeignKeyConstraint(["account_id", "client_id"], ["clients.account_id", "clients.client_id"]),
    Index("client_secrets_secret_hash_idx", "secret_hash"),
)

# The installation's, not a tenant's. The newest key signs; all of them verify until the worker removes them.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("encrypted_private_key", LargeBinary, nullable=False),
    _instant("created_at"),
)

# --- buckets -----------------------------------------------------------------------------------------------------

# bucket_no is the bucket's short name inside: event rows and their indexes would carry 28 bytes of id otherwise.
buckets = Table(
    "buckets",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("bucket_no", Integer, Identity(always=True), nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("deleted_at", nullable=True),
    PrimaryKeyConstraint("account_id", "bucket_no"),
    UniqueConstraint("account_id", "id"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)


def _in_bucket() -> list[Column[object]]:
    return [Column("account_id", Uuid, nullable=False), Column("bucket_no", Integer, nullable=False)]


def _bucket_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["account_id", "bucket_no"], ["buckets.account_id", "buckets.bucket_no"])


bucket_meters = Table(
    "bucket_meters",
    metadata,
    *_in_bucket(),
    Column("id", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("metadata", JSONB(none_as_null=True), nullable=True),
    Column("aggregation", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    _instant("event_from", nullable=True),
    Column("value_property", Text, nullable=True),
    Column("group_by", JSONB, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("deleted_at", nullable=True),
    CheckConstraint(
        "aggregation IN ('SUM', 'COUNT', 'UNIQUE_COUNT', 'AVG', 'MIN', 'MAX', 'LATEST')"
        " AND (aggregation = 'COUNT' OR value_property IS NOT NULL)",
        "aggregation",
    ),
    PrimaryKeyConstraint("account_id", "bucket_no", "id"),
    _bucket_key(),
    Index(
        "bucket_meters_live_slug_key",
        "account_id",
        "bucket_no",
        "slug",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

customers = Table(
    "customers",
    metadata,
    *_in_bucket(),
    Column("id", Text, nullable=False),
    Column("key", Text, nullable=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("metadata", JSONB(none_as_null=True), nullable=True),
    Column("currency", Text, nullable=True),
    Column("primary_email", Text, nullable=True),
    Column("billing_address", JSONB(none_as_null=True), nullable=True),
    Column("subject_keys", ARRAY(Text), nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("deleted_at", nullable=True),
    PrimaryKeyConstraint("account_id", "bucket_no", "id"),
    _bucket_key(),
)

# Whose usage a subject is. A customer's key and its subject keys share one name space, so a subject has one owner.
customer_subjects = Table(
    "customer_subjects",
    metadata,
    *_in_bucket(),
    Column("subject", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    PrimaryKeyConstraint("account_id", "bucket_no", "subject"),
    ForeignKeyConstraint(
        ["account_id", "bucket_no", "customer_id"],
        ["customers.account_id", "customers.bucket_no", "customers.id"],
    ),
)


def _event_columns() -> list[Column[object]]:
    return [
        *_in_bucket(),
        Column("source", Text, nullable=False),
        Column("id", Text, nullable=False),
        Column("seq", BigInteger, nullable=False),  # order of arrival
        Column("type", Text, nullable=False),
        Column("subject", Text, nullable=False),
        # Equal to ingested_at when the sender gave no time.
        _instant("time"),
        _instant("ingested_at"),
        Column("data", JSONB(none_as_null=True), nullable=True),
        # specversion, datacontenttype, dataschema and the extension attributes, as sent.
        Column("attributes", JSONB(none_as_null=True), nullable=True),
    ]


# The counted events. The primary key is the deduplication, for ever: (bucket, source, id), first wins.
events = Table(
    "events",
    metadata,
    *_event_columns(),
    PrimaryKeyConstraint("account_id", "bucket_no", "source", "id"),
    Index("events_by_subject_idx", "bucket_no", "type", "subject", "time"),
    Index("events_by_time_idx", "bucket_no", "time", "seq"),
)

# Events whose key was taken by one with other content. Kept to be seen, never counted.
event_conflicts = Table(
    "event_conflicts",
    metadata,
    *_event_columns(),
    Column("content_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("account_id", "bucket_no", "source", "id", "content_hash"),
    Index("event_conflicts_by_time_idx", "bucket_no", "time", "seq"),
)

# Writers take blocks of arrival numbers from here, so that one round trip serves a million events.
event_seq_blocks = Sequence("event_seq_blocks", metadata=metadata)


# --- usage metering ----------------------------------------------------------------------------------------------


def _json_as_sent(name: str) -> Column[object]:
    """`json`, not `jsonb`: the members of custom fields come back in the order and with the digits they were sent."""
    return Column(name, JSON, nullable=False)


meter_types = Table(
    "meter_types",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("external_ref", Text, nullable=True),
    Column("category", Text, nullable=False),
    Column("aggregation", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("capacity", Numeric, nullable=True),
    _json_as_sent("thresholds"),
    Column("reset_schedule", JSONB, nullable=False),
    Column("timezone", Text, nullable=False),
    _instant("active_from"),
    _instant("active_to", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    CheckConstraint("aggregation IN ('sum', 'increment', 'max', 'min')", "aggregation"),
    CheckConstraint("active_to > active_from", "active"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    UniqueConstraint("account_id", "external_ref"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

# What a meter copies from its type when it is created stands here again; the rest is read through the type.
meters = Table(
    "meters",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("meter_type_id", Uuid, nullable=False),
    Column("meter_key", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("aggregation", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("capacity", Numeric, nullable=True),
    _json_as_sent("thresholds"),
    _json_as_sent("custom_fields"),
    Column("delete_on_reset", Boolean, nullable=False),
    Column("value", Numeric, nullable=True),  # null: no record in this period yet
    Column("group_breakdowns", JSONB, nullable=False),
    Column("carry_first", JSONB, nullable=False),
    Column("carry_last", JSONB, nullable=False),
    Column("meter_meta_data", JSONB, nullable=False),
    _instant("period_start"),
    _instant("period_end"),
    _instant("created_at"),
    _instant("updated_at"),
    CheckConstraint("aggregation IN ('sum', 'increment', 'max', 'min')", "aggregation"),
    CheckConstraint("period_end > period_start", "period"),
    PrimaryKeyConstraint("account_id", "id"),
    # In this order it also finds the meters of one user at one meter processor.
    UniqueConstraint("account_id", "meter_key", "user_id", "meter_type_id", name="meters_identity_key"),
    # What refuses the deletion of a type that has meters.
    ForeignKeyConstraint(["account_id", "meter_type_id"], ["meter_types.account_id", "meter_types.id"]),
    Index("meters_by_creation_idx", "account_id", "created_at", "id"),
    Index("meters_by_type_idx", "account_id", "meter_type_id", "created_at", "id"),
    Index("meters_by_user_idx", "account_id", "user_id", "created_at", "id"),
    # Across accounts: one worker closes everybody's periods.
    Index("meters_period_end_idx", "period_end"),
)


# --- online collection -------------------------------------------------------------------------------------------

collectors = Table(
    "collectors",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

# What was sent and not yet consumed. Within a collector `seq` grows in the order of commits (see collectors/inbox),
# so a consumer that remembers the last one it took misses nothing. No foreign key: the writer's statement locks the
# collectors it writes for, once a batch instead of once a row.
inbox = Table(
    "inbox",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("collector_id", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("ingestion_id", Uuid, nullable=False),
    _instant("received_at"),
    Column("data", Text, nullable=False),  # the JSON text of an object or a string, as it was sent
    PrimaryKeyConstraint("account_id", "collector_id", "seq"),
    # Recognises a batch that is written again because its answer was lost. Ids are time-ordered: this stays cheap.
    UniqueConstraint("account_id", "ingestion_id"),
)

inbox_seq = Sequence("inbox_seq", metadata=metadata)

# --- streams -----------------------------------------------------------------------------------------------------

streams = Table(
    "streams",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

# Without a tag it is the autosaved version, of which a stream has at most one.
stream_versions = Table(
    "stream_versions",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("version_no", BigInteger, Identity(always=True), nullable=False),  # order of creation
    Column("tag", Text, nullable=True),
    Column("description", Text, nullable=True),
    Column("document", Text, nullable=False),  # the JSON text as imported: jsonb would reorder and respell it
    Column("created_by", Text, nullable=True),
    Column("deployed", Boolean, nullable=False),
    Column("scheduled", Boolean, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    PrimaryKeyConstraint("account_id", "stream_id", "id"),
    UniqueConstraint("account_id", "stream_id", "tag"),
    ForeignKeyConstraint(["account_id", "stream_id"], ["streams.account_id", "streams.id"], ondelete="CASCADE"),
    Index(
        "stream_versions_autosaved_key",
        "account_id",
        "stream_id",
        unique=True,
        postgresql_where=text("tag IS NULL"),
    ),
    Index("stream_versions_deployed_key", "account_id", "stream_id", unique=True, postgresql_where=text("deployed")),
)

# --- aggregation -------------------------------------------------------------------------------------------------

# Open sessions of Script aggregators. The key's length is limited because it is an index key.
aggregation_sessions = Table(
    "aggregation_sessions",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("meta", JSONB, nullable=False),
    _instant("timeout_at", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    CheckConstraint("store_id ~ '^[0-9a-f]{40}$'", "store_id"),
    CheckConstraint("octet_length(session_key) <= 2048", "session_key"),
    PrimaryKeyConstraint("account_id", "store_id", "session_key"),
    Index(
        "aggregation_sessions_timeout_idx",
        "account_id",
        "store_id",
        "timeout_at",
        postgresql_where=text("timeout_at IS NOT NULL"),
    ),
)

# --- runs of streams ---------------------------------------------------------------------------------------------


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
    _instant("started_at"),
    _instant("ended_at", nullable=True),
    _instant("next_step_at"),
    _instant("flushed_at"),
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


# The records that reached each writer.
stream_outputs = Table("stream_outputs", metadata, *_of_run(), Column("payload", JSON, nullable=False))

stream_log = Table(
    "stream_log",
    metadata,
    *_of_run(),
    Column("level", Text, nullable=False),
    Column("message", Text, nullable=False),
    _instant("logged_at"),
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
    _instant("created_at"),
    _instant("updated_at"),
    CheckConstraint("status IN ('open', 'queued')", "status"),
    PrimaryKeyConstraint("account_id", "id"),
    _of_stream(),
    Index("rejected_records_by_stream_idx", "account_id", "stream_id", "status", "created_at"),
    Index("rejected_records_by_ingestion_idx", "account_id", "ingestion_id"),
    Index("rejected_records_updated_at_idx", "updated_at"),
)

# --- what functions of streams remember --------------------------------------------------------------------------

# A key is the SHA-256 of what a Deduplicate function makes of a record.
stream_dedup_keys = Table(
    "stream_dedup_keys",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    _instant("expires_at"),
    CheckConstraint("octet_length(key_hash) = 32", "key_hash"),
    PrimaryKeyConstraint("account_id", "stream_id", "node_id", "key_hash"),
    # Across accounts: one worker deletes what has expired.
    Index("stream_dedup_keys_expires_at_idx", "expires_at"),
)

# --- what scripts keep -------------------------------------------------------------------------------------------

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

# --- how streams log in elsewhere --------------------------------------------------------------------------------

account_secrets = Table(
    "account_secrets",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),  # oauth2 | basic | bearer
    Column("encrypted", LargeBinary, nullable=False),
    _instant("created_at"),
    CheckConstraint("type IN ('oauth2', 'basic', 'bearer')", "type"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)
