"""Buckets and what is in them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from meterhouse.tables.schema import instant, metadata

# bucket_no is the bucket's short name inside: event rows and their indexes would carry 28 bytes of id otherwise.
buckets = Table(
    "buckets",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("bucket_no", Integer, Identity(always=True), nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=True),
    instant("created_at"),
    instant("updated_at"),
    instant("deleted_at", nullable=True),
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
    instant("event_from", nullable=True),
    Column("value_property", Text, nullable=True),
    Column("group_by", JSONB, nullable=False),
    instant("created_at"),
    instant("updated_at"),
    instant("deleted_at", nullable=True),
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
    instant("created_at"),
    instant("updated_at"),
    instant("deleted_at", nullable=True),
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
        instant("time"),
        instant("ingested_at"),
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
