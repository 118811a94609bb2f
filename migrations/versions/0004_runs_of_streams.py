"""runs of streams"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_dedup_keys",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(key_hash) = 32", name=op.f("stream_dedup_keys_key_hash_check")),
        sa.PrimaryKeyConstraint("account_id", "stream_id", "node_id", "key_hash", name=op.f("stream_dedup_keys_pkey")),
    )
    op.create_index("stream_dedup_keys_expires_at_idx", "stream_dedup_keys", ["expires_at"], unique=False)
    op.create_table(
        "stream_persist",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("char_length(key) BETWEEN 1 AND 512", name=op.f("stream_persist_key_check")),
        sa.PrimaryKeyConstraint("account_id", "scope", "key", name=op.f("stream_persist_pkey")),
    )
    op.create_table(
        "account_secrets",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("type IN ('oauth2', 'basic', 'bearer')", name=op.f("account_secrets_type_check")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("account_secrets_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("account_secrets_pkey")),
        sa.UniqueConstraint("account_id", "name", name=op.f("account_secrets_account_id_name_key")),
    )
    op.create_table(
        "collector_reads",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("collector_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "stream_id"],
            ["streams.account_id", "streams.id"],
            name=op.f("collector_reads_account_id_stream_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "stream_id", "collector_id", "run_id", name=op.f("collector_reads_pkey")),
    )
    op.create_index("collector_reads_by_collector_idx", "collector_reads", ["account_id", "collector_id"], unique=False)
    op.create_table(
        "rejected_records",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("node_name", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("ingestion_id", sa.Uuid(), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('open', 'queued')", name=op.f("rejected_records_status_check")),
        sa.ForeignKeyConstraint(
            ["account_id", "stream_id"],
            ["streams.account_id", "streams.id"],
            name=op.f("rejected_records_account_id_stream_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("rejected_records_pkey")),
    )
    op.create_index(
        "rejected_records_by_ingestion_idx", "rejected_records", ["account_id", "ingestion_id"], unique=False
    )
    op.create_index(
        "rejected_records_by_stream_idx",
        "rejected_records",
        ["account_id", "stream_id", "status", "created_at"],
        unique=False,
    )
    op.create_index("rejected_records_updated_at_idx", "rejected_records", ["updated_at"], unique=False)
    op.create_table(
        "stream_nodes",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("meter_key", sa.Text(), nullable=True),
        sa.Column("store_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "stream_id"],
            ["streams.account_id", "streams.id"],
            name=op.f("stream_nodes_account_id_stream_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "stream_id", "node_id", name=op.f("stream_nodes_pkey")),
        sa.UniqueConstraint("account_id", "meter_key", name=op.f("stream_nodes_account_id_meter_key_key")),
    )
    op.create_table(
        "stream_runs",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("nodes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("audit", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_step_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("flushed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('batch', 'realtime')", name=op.f("stream_runs_kind_check")),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'aborted', 'failed')", name=op.f("stream_runs_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "stream_id"],
            ["streams.account_id", "streams.id"],
            name=op.f("stream_runs_account_id_stream_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("stream_runs_pkey")),
    )
    op.create_index("stream_runs_by_stream_idx", "stream_runs", ["account_id", "stream_id", "started_at"], unique=False)
    op.create_index(
        "stream_runs_next_step_idx",
        "stream_runs",
        ["next_step_at"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "stream_runs_running_key",
        "stream_runs",
        ["account_id", "stream_id"],
        unique=True,
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "stream_log",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("logged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["stream_runs.account_id", "stream_runs.id"],
            name=op.f("stream_log_account_id_run_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "run_id", "line_no", name=op.f("stream_log_pkey")),
    )
    op.create_table(
        "stream_outputs",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("line_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "run_id"],
            ["stream_runs.account_id", "stream_runs.id"],
            name=op.f("stream_outputs_account_id_run_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "run_id", "line_no", name=op.f("stream_outputs_pkey")),
    )
    op.create_index(
        "aggregation_sessions_timeout_idx",
        "aggregation_sessions",
        ["account_id", "store_id", "timeout_at"],
        unique=False,
        postgresql_where=sa.text("timeout_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "aggregation_sessions_timeout_idx",
        table_name="aggregation_sessions",
        postgresql_where=sa.text("timeout_at IS NOT NULL"),
    )
    op.drop_table("stream_outputs")
    op.drop_table("stream_log")
    op.drop_index("stream_runs_running_key", table_name="stream_runs", postgresql_where=sa.text("status = 'running'"))
    op.drop_index("stream_runs_next_step_idx", table_name="stream_runs", postgresql_where=sa.text("status = 'running'"))
    op.drop_index("stream_runs_by_stream_idx", table_name="stream_runs")
    op.drop_table("stream_runs")
    op.drop_table("stream_nodes")
    op.drop_index("rejected_records_updated_at_idx", table_name="rejected_records")
    op.drop_index("rejected_records_by_stream_idx", table_name="rejected_records")
    op.drop_index("rejected_records_by_ingestion_idx", table_name="rejected_records")
    op.drop_table("rejected_records")
    op.drop_index("collector_reads_by_collector_idx", table_name="collector_reads")
    op.drop_table("collector_reads")
    op.drop_table("account_secrets")
    op.drop_table("stream_persist")
    op.drop_index("stream_dedup_keys_expires_at_idx", table_name="stream_dedup_keys")
    op.drop_table("stream_dedup_keys")
