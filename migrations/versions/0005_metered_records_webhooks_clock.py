"""metered records, webhooks, the sandbox's clock"""

from alembic import op
import sqlalchemy as sa
import tzdata
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sandbox_clock",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("ahead_microseconds", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("ahead_microseconds >= 0", name=op.f("sandbox_clock_ahead_check")),
        sa.CheckConstraint("id = 1", name=op.f("sandbox_clock_id_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("sandbox_clock_pkey")),
    )
    op.create_table(
        "metered_record_heads",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("last_no", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.account_id"], name=op.f("metered_record_heads_account_id_fkey")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("metered_record_heads_pkey")),
    )
    op.create_table(
        "metered_records",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("record_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("meter_id", sa.Uuid(), nullable=False),
        sa.Column("meter_key", sa.Text(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("statement", sa.JSON(none_as_null=True), nullable=True),
        sa.CheckConstraint("(kind = 'reset') = (statement IS NOT NULL)", name=op.f("metered_records_statement_check")),
        sa.CheckConstraint("kind IN ('reset', 'threshold')", name=op.f("metered_records_kind_check")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("metered_records_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "record_no", name=op.f("metered_records_pkey")),
    )
    op.create_index(
        "metered_records_reset_key",
        "metered_records",
        ["account_id", "meter_id", "period_start"],
        unique=True,
        postgresql_where=sa.text("kind = 'reset'"),
    )
    op.create_table(
        "awaiting_records",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("meter_key", sa.Text(), nullable=False),
        sa.Column("record_no", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "record_no"],
            ["metered_records.account_id", "metered_records.record_no"],
            name=op.f("awaiting_records_account_id_record_no_fkey"),
        ),
        sa.PrimaryKeyConstraint("account_id", "meter_key", "record_no", name=op.f("awaiting_records_pkey")),
    )
    op.create_index("awaiting_records_by_meter_idx", "awaiting_records", ["account_id", "meter_id"], unique=False)
    op.create_table(
        "webhooks",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("meter_keys", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("encrypted_secret", sa.LargeBinary(), nullable=False),
        sa.Column("encrypted_previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('ACTIVE', 'DISABLED')", name=op.f("webhooks_status_check")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("webhooks_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("webhooks_pkey")),
        sa.UniqueConstraint("account_id", "url", name=op.f("webhooks_account_id_url_key")),
    )
    op.create_table(
        "deliveries",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("delivery_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("lane_id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=True),
        sa.Column("record_no", sa.BigInteger(), nullable=True),
        sa.Column("stream_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("secret_id", sa.Uuid(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("order_key", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'parked')", name=op.f("deliveries_status_check")),
        sa.CheckConstraint(
            "(webhook_id IS NOT NULL AND record_no IS NOT NULL) OR (stream_id IS NOT NULL AND url IS NOT NULL AND body IS NOT NULL)",
            name=op.f("deliveries_target_check"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "stream_id"],
            ["streams.account_id", "streams.id"],
            name=op.f("deliveries_account_id_stream_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "webhook_id"],
            ["webhooks.account_id", "webhooks.id"],
            name=op.f("deliveries_account_id_webhook_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "delivery_no", name=op.f("deliveries_pkey")),
        sa.UniqueConstraint(
            "account_id", "webhook_id", "record_no", name=op.f("deliveries_account_id_webhook_id_record_no_key")
        ),
    )
    op.create_index(
        "deliveries_in_order_idx",
        "deliveries",
        ["account_id", "webhook_id", "order_key", "delivery_no"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' AND order_key IS NOT NULL"),
    )
    op.create_index(
        "deliveries_due_idx",
        "deliveries",
        ["account_id", "lane_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending' AND next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "deliveries_by_stream_idx",
        "deliveries",
        ["account_id", "stream_id", "delivery_no"],
        unique=False,
        postgresql_where=sa.text("stream_id IS NOT NULL"),
    )
    op.add_column("meters", sa.Column("close_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE meters SET close_at = period_end")
    op.alter_column("meters", "close_at", nullable=False)
    op.add_column("meters", sa.Column("period_schedule", postgresql.JSONB(), nullable=True))
    op.execute(
        "UPDATE meters SET period_schedule = t.reset_schedule FROM meter_types AS t"
        " WHERE t.account_id = meters.account_id AND t.id = meters.meter_type_id"
    )
    op.alter_column("meters", "period_schedule", nullable=False)
    op.add_column("meters", sa.Column("period_tz_version", sa.Text(), nullable=True))
    op.execute(sa.text("UPDATE meters SET period_tz_version = :version").bindparams(version=tzdata.IANA_VERSION))
    op.alter_column("meters", "period_tz_version", nullable=False)
    op.add_column("meters", sa.Column("close_error", sa.Text(), nullable=True))
    op.create_index(
        "meters_postponed_idx",
        "meters",
        ["account_id", "id"],
        unique=False,
        postgresql_where=sa.text("close_error IS NOT NULL"),
    )
    op.add_column("meters", sa.Column("last_period_hash", sa.Text(), nullable=True))
    op.drop_index(op.f("meters_period_end_idx"), table_name="meters")
    op.create_index("meters_close_at_idx", "meters", ["close_at"], unique=False)
    op.add_column("stream_runs", sa.Column("stepped_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE stream_runs SET stepped_at = next_step_at")
    op.alter_column("stream_runs", "stepped_at", nullable=False)
    op.drop_constraint(op.f("account_secrets_type_check"), "account_secrets")
    op.create_check_constraint(
        op.f("account_secrets_type_check"), "account_secrets", "type IN ('oauth2', 'basic', 'bearer', 'signing')"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("account_secrets_type_check"), "account_secrets")
    op.create_check_constraint(
        op.f("account_secrets_type_check"), "account_secrets", "type IN ('oauth2', 'basic', 'bearer')"
    )
    op.drop_column("stream_runs", "stepped_at")
    op.drop_index("meters_close_at_idx", table_name="meters")
    op.create_index(op.f("meters_period_end_idx"), "meters", ["period_end"], unique=False)
    op.drop_column("meters", "last_period_hash")
    op.drop_index("meters_postponed_idx", table_name="meters")
    op.drop_column("meters", "close_error")
    op.drop_column("meters", "period_tz_version")
    op.drop_column("meters", "period_schedule")
    op.drop_column("meters", "close_at")
    op.drop_index("deliveries_by_stream_idx", table_name="deliveries")
    op.drop_index("deliveries_due_idx", table_name="deliveries")
    op.drop_index("deliveries_in_order_idx", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("webhooks")
    op.drop_table("awaiting_records")
    op.drop_index("metered_records_reset_key", table_name="metered_records", postgresql_where=sa.text("kind = 'reset'"))
    op.drop_table("metered_records")
    op.drop_table("metered_record_heads")
    op.drop_table("sandbox_clock")
