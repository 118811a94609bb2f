"""Meter types and meters."""

from sqlalchemy import (
    JSON,
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
    Index("meters_period_end_idx", "period_end"),
)
