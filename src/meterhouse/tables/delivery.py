"""Webhooks, and what is still to be delivered over HTTP."""

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
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from meterhouse.tables.schema import instant, metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=True),
    Column("types", ARRAY(Text), nullable=False),  # of records: reset, threshold
    Column("meter_keys", ARRAY(Text), nullable=True),  # null: of every meter
    Column("status", Text, nullable=False),  # ACTIVE | DISABLED
    Column("encrypted_secret", LargeBinary, nullable=False),
    # The secret before, which signs too while receivers change over.
    Column("encrypted_previous_secret", LargeBinary, nullable=True),
    instant("previous_secret_expires_at", nullable=True),
    instant("created_at"),
    instant("updated_at"),
    CheckConstraint("status IN ('ACTIVE', 'DISABLED')", "status"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "url"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

# A row lives until its delivery is answered with success; parked ones wait for a person. It is for a webhook and one
# metered record, or for a writer of a stream, which says where to and what.
deliveries = Table(
    "deliveries",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("delivery_no", BigInteger, Identity(always=True), nullable=False),  # order of commits within a meter
    Column("message_id", Text, nullable=False),  # the header webhook-id, the same in every attempt
    # The receiver, as far as limits and patience go: the webhook's id, or one for a stream and a server that it calls.
    Column("lane_id", Uuid, nullable=False),
    Column("webhook_id", Uuid, nullable=True),
    Column("record_no", BigInteger, nullable=True),
    Column("stream_id", Uuid, nullable=True),
    Column("url", Text, nullable=True),
    Column("secret_id", Uuid, nullable=True),
    Column("body", Text, nullable=True),
    # Of one webhook: what has the same key is delivered in order, one after the other. Null: in any order.
    Column("order_key", Text, nullable=True),
    Column("status", Text, nullable=False),  # pending | parked
    Column("attempts", Integer, nullable=False),
    instant("leased_until", nullable=True),  # by the machine's clock: a worker is at it
    instant("created_at"),
    instant("first_attempt_at", nullable=True),
    # Null: parked, or behind another of its order key, whose end sets it.
    instant("next_attempt_at", nullable=True),
    Column("last_error", Text, nullable=True),
    CheckConstraint("status IN ('pending', 'parked')", "status"),
    CheckConstraint(
        "(webhook_id IS NOT NULL AND record_no IS NOT NULL) OR (stream_id IS NOT NULL AND url IS NOT NULL"
        " AND body IS NOT NULL)",
        "target",
    ),
    PrimaryKeyConstraint("account_id", "delivery_no"),
    ForeignKeyConstraint(["account_id", "webhook_id"], ["webhooks.account_id", "webhooks.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["account_id", "stream_id"], ["streams.account_id", "streams.id"], ondelete="CASCADE"),
    UniqueConstraint("account_id", "webhook_id", "record_no"),
    # Which one is first of its order key.
    Index(
        "deliveries_in_order_idx",
        "account_id",
        "webhook_id",
        "order_key",
        "delivery_no",
        postgresql_where=text("status = 'pending' AND order_key IS NOT NULL"),
    ),
    # From lane to lane, and within each what is due.
    Index(
        "deliveries_due_idx",
        "account_id",
        "lane_id",
        "next_attempt_at",
        postgresql_where=text("status = 'pending' AND next_attempt_at IS NOT NULL"),
    ),
    Index(
        "deliveries_by_stream_idx",
        "account_id",
        "stream_id",
        "delivery_no",
        postgresql_where=text("stream_id IS NOT NULL"),
    ),
)
