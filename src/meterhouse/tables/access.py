"""Who calls: accounts, clients and their secrets, signing keys."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY

from meterhouse.tables.schema import instant, metadata

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    instant("created_at"),
    instant("revoked_at", nullable=True),
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
    instant("created_at"),
    instant("revoked_at", nullable=True),
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
    instant("created_at"),
    instant("expires_at", nullable=True),
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
    instant("created_at"),
)
