"""Meter types, meters, and what meters send."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from meterhouse.tables.schema import instant, metadata


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
    instant("active_from"),
    instant("active_to", nullable=True),
    instant("created_at"),
    instant("updated_at"),
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
    instant("period_start"),
    instant("period_end"),
    # What the end of the running period was found with; the type's schedule may be another one by now.
    Column("period_schedule", JSONB, nullable=False),
    Column("period_tz_version", Text, nullable=False),
    # When a worker is to close the period: its end, or later where closing has failed.
    instant("close_at"),
    Column("close_error", Text, nullable=True),
    Column("last_period_hash", Text, nullable=True),  # what the next closed period is chained to
    instant("created_at"),
    instant("updated_at"),
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
    Index("meters_close_at_idx", "close_at"),
    # Counted by the metrics.
    Index("meters_postponed_idx", "account_id", "id", postgresql_where=text("close_error IS NOT NULL")),
)

# The outbox: what meters have sent, in the order in which it was committed. `record_no` has no gaps within an account
# (see metered_records/store), so a reader that remembers the last one misses nothing. A reset is also the statement of
# its period: no foreign key, for it outlives its meter.
metered_records = Table(
    "metered_records",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("record_no", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # reset | threshold
    Column("meter_id", Uuid, nullable=False),
    Column("meter_key", Text, nullable=False),
    instant("period_start"),
    _json_as_sent("record"),
    instant("recorded_at"),
    # Of resets: recordCount, resetSchedule, tzVersion, closedAt, previousHash and hash.
    Column("statement", JSON(none_as_null=True), nullable=True),
    CheckConstraint("kind IN ('reset', 'threshold')", "kind"),
    CheckConstraint("(kind = 'reset') = (statement IS NOT NULL)", "statement"),
    PrimaryKeyConstraint("account_id", "record_no"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
    # A period is closed once, whoever tries it again.
    Index(
        "metered_records_reset_key",
        "account_id",
        "meter_id",
        "period_start",
        unique=True,
        postgresql_where=text("kind = 'reset'"),
    ),
)

# What the worker has closed and the stream with the meter key has still to send through its Meter processor. A table of
# its own, and not a mark on the record: it is looked at in every step of a stream, and nearly always empty.
awaiting_records = Table(
    "awaiting_records",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("meter_key", Text, nullable=False),
    Column("record_no", BigInteger, nullable=False),
    Column("meter_id", Uuid, nullable=False),
    PrimaryKeyConstraint("account_id", "meter_key", "record_no"),
    ForeignKeyConstraint(["account_id", "record_no"], ["metered_records.account_id", "metered_records.record_no"]),
    Index("awaiting_records_by_meter_idx", "account_id", "meter_id"),
)

# The last number given in each account; its row is locked from there to the end of the transaction.
metered_record_heads = Table(
    "metered_record_heads",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("last_no", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)
