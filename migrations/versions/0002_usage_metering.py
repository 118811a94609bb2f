"""meter types and meters"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "meter_types",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("external_ref", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("capacity", sa.Numeric(), nullable=True),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.Column("reset_schedule", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "aggregation IN ('sum', 'increment', 'max', 'min')", name=op.f("meter_types_aggregation_check")
        ),
        sa.CheckConstraint("active_to > active_from", name=op.f("meter_types_active_check")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("meter_types_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("meter_types_pkey")),
        sa.UniqueConstraint("account_id", "name", name=op.f("meter_types_account_id_name_key")),
        sa.UniqueConstraint("account_id", "external_ref", name=op.f("meter_types_account_id_external_ref_key")),
    )
    op.create_table(
        "meters",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("meter_type_id", sa.Uuid(), nullable=False),
        sa.Column("meter_key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("capacity", sa.Numeric(), nullable=True),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.Column("custom_fields", sa.JSON(), nullable=False),
        sa.Column("delete_on_reset", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Numeric(), nullable=True),
        sa.Column("group_breakdowns", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("carry_first", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("carry_last", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("meter_meta_data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("aggregation IN ('sum', 'increment', 'max', 'min')", name=op.f("meters_aggregation_check")),
        sa.CheckConstraint("period_end > period_start", name=op.f("meters_period_check")),
        sa.ForeignKeyConstraint(
            ["account_id", "meter_type_id"],
            ["meter_types.account_id", "meter_types.id"],
            name=op.f("meters_account_id_meter_type_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("meters_pkey")),
        sa.UniqueConstraint("account_id", "meter_key", "user_id", "meter_type_id", name="meters_identity_key"),
    )
    op.create_index("meters_by_creation_idx", "meters", ["account_id", "created_at", "id"])
    op.create_index("meters_by_type_idx", "meters", ["account_id", "meter_type_id", "created_at", "id"])
    op.create_index("meters_by_user_idx", "meters", ["account_id", "user_id", "created_at", "id"])
    op.create_index("meters_period_end_idx", "meters", ["period_end"])


def downgrade() -> None:
    op.drop_table("meters")
    op.drop_table("meter_types")
