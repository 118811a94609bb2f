"""collectors and their inbox, streams and their versions, aggregation sessions"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("inbox_seq")))
    op.create_table(
        "collectors",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("collectors_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("collectors_pkey")),
        sa.UniqueConstraint("account_id", "name", name=op.f("collectors_account_id_name_key")),
    )
    op.create_table(
        "inbox",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("collector_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("ingestion_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "collector_id", "seq", name=op.f("inbox_pkey")),
        sa.UniqueConstraint("account_id", "ingestion_id", name=op.f("inbox_account_id_ingestion_id_key")),
    )
    op.create_table(
        "streams",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("streams_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("streams_pkey")),
        sa.UniqueConstraint("account_id", "name", name=op.f("streams_account_id_name_key")),
    )
    op.create_table(
        "stream_versions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("stream_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("tag", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("deployed", sa.Boolean(), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "stream_id"],
            ["streams.account_id", "streams.id"],
            name=op.f("stream_versions_account_id_stream_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "stream_id", "id", name=op.f("stream_versions_pkey")),
        sa.UniqueConstraint("account_id", "stream_id", "tag", name=op.f("stream_versions_account_id_stream_id_tag_key")),
    )
    op.create_index(
        "stream_versions_autosaved_key",
        "stream_versions",
        ["account_id", "stream_id"],
        unique=True,
        postgresql_where=sa.text("tag IS NULL"),
    )
    op.create_index(
        "stream_versions_deployed_key",
        "stream_versions",
        ["account_id", "stream_id"],
        unique=True,
        postgresql_where=sa.text("deployed"),
    )
    op.create_table(
        "aggregation_sessions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("session_key", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timeout_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("store_id ~ '^[0-9a-f]{40}$'", name=op.f("aggregation_sessions_store_id_check")),
        sa.CheckConstraint(
            "octet_length(session_key) <= 2048", name=op.f("aggregation_sessions_session_key_check")
        ),
        sa.PrimaryKeyConstraint("account_id", "store_id", "session_key", name=op.f("aggregation_sessions_pkey")),
    )


def downgrade() -> None:
    op.drop_table("aggregation_sessions")
    op.drop_table("stream_versions")
    op.drop_table("streams")
    op.drop_table("inbox")
    op.drop_table("collectors")
    op.execute(sa.schema.DropSequence(sa.Sequence("inbox_seq")))
