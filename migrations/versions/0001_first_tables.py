"""first tables"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("event_seq_blocks")))
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("accounts_pkey")),
    )
    op.create_table(
        "event_conflicts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bucket_no", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("attributes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account_id", "bucket_no", "source", "id", "content_hash", name=op.f("event_conflicts_pkey")
        ),
    )
    op.create_index("event_conflicts_by_time_idx", "event_conflicts", ["bucket_no", "time", "seq"], unique=False)
    op.create_table(
        "events",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bucket_no", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("attributes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "bucket_no", "source", "id", name=op.f("events_pkey")),
    )
    op.create_index("events_by_subject_idx", "events", ["bucket_no", "type", "subject", "time"], unique=False)
    op.create_index("events_by_time_idx", "events", ["bucket_no", "time", "seq"], unique=False)
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("encrypted_private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("signing_keys_pkey")),
    )
    op.create_table(
        "buckets",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bucket_no", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("buckets_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "bucket_no", name=op.f("buckets_pkey")),
        sa.UniqueConstraint("account_id", "id", name=op.f("buckets_account_id_id_key")),
    )
    op.create_table(
        "bucket_meters",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bucket_no", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("aggregation", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("event_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("value_property", sa.Text(), nullable=True),
        sa.Column("group_by", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "aggregation IN ('SUM', 'COUNT', 'UNIQUE_COUNT', 'AVG', 'MIN', 'MAX', 'LATEST') AND (aggregation = 'COUNT' OR value_property IS NOT NULL)",
            name=op.f("bucket_meters_aggregation_check"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "bucket_no"],
            ["buckets.account_id", "buckets.bucket_no"],
            name=op.f("bucket_meters_account_id_bucket_no_fkey"),
        ),
        sa.PrimaryKeyConstraint("account_id", "bucket_no", "id", name=op.f("bucket_meters_pkey")),
    )
    op.create_index(
        "bucket_meters_live_slug_key",
        "bucket_meters",
        ["account_id", "bucket_no", "slug"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "clients",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("bucket_no", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('application', 'api_key')", name=op.f("clients_kind_check")),
        sa.ForeignKeyConstraint(
            ["account_id", "bucket_no"],
            ["buckets.account_id", "buckets.bucket_no"],
            name=op.f("clients_account_id_bucket_no_fkey"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("clients_account_id_fkey")),
        sa.PrimaryKeyConstraint("account_id", "client_id", name=op.f("clients_pkey")),
    )
    op.create_index("clients_client_id_idx", "clients", ["client_id"], unique=False)
    op.create_table(
        "customers",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bucket_no", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("primary_email", sa.Text(), nullable=True),
        sa.Column("billing_address", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("subject_keys", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "bucket_no"],
            ["buckets.account_id", "buckets.bucket_no"],
            name=op.f("customers_account_id_bucket_no_fkey"),
        ),
        sa.PrimaryKeyConstraint("account_id", "bucket_no", "id", name=op.f("customers_pkey")),
    )
    op.create_table(
        "client_secrets",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "client_id"],
            ["clients.account_id", "clients.client_id"],
            name=op.f("client_secrets_account_id_client_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("account_id", "client_id", "secret_hash", name=op.f("client_secrets_pkey")),
    )
    op.create_index("client_secrets_secret_hash_idx", "client_secrets", ["secret_hash"], unique=False)
    op.create_table(
        "customer_subjects",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("bucket_no", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "bucket_no", "customer_id"],
            ["customers.account_id", "customers.bucket_no", "customers.id"],
            name=op.f("customer_subjects_account_id_bucket_no_customer_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("account_id", "bucket_no", "subject", name=op.f("customer_subjects_pkey")),
    )


def downgrade() -> None:
    op.execute(sa.schema.DropSequence(sa.Sequence("event_seq_blocks")))
    op.drop_table("customer_subjects")
    op.drop_index("client_secrets_secret_hash_idx", table_name="client_secrets")
    op.drop_table("client_secrets")
    op.drop_table("customers")
    op.drop_index("clients_client_id_idx", table_name="clients")
    op.drop_table("clients")
    op.drop_index(
        "bucket_meters_live_slug_key", table_name="bucket_meters", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_table("bucket_meters")
    op.drop_table("buckets")
    op.drop_table("signing_keys")
    op.drop_index("events_by_time_idx", table_name="events")
    op.drop_index("events_by_subject_idx", table_name="events")
    op.drop_table("events")
    op.drop_index("event_conflicts_by_time_idx", table_name="event_conflicts")
    op.drop_table("event_conflicts")
    op.drop_table("accounts")
