"""Collectors, streams and their versions, open sessions."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from meterhouse.tables.schema import instant, metadata

# --- online collection ----------------------------------------------------------------------------------------------

collectors = Table(
    "collectors",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    instant("created_at"),
    instant("updated_at"),
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

# What was sent and not yet consumed. Within a collector `seq` grows in the order of commits (see collectors/inbox),
# so a consumer that remembers the last one it took misses nothing. No foreign key: the writer's statement locks the
# collectors it writes for, once a batch instead of once a row.
inbox = Table(
    "inbox",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("collector_id", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("ingestion_id", Uuid, nullable=False),
    instant("received_at"),
    Column("data", Text, nullable=False),  # the JSON text of an object or a string, as it was sent
    PrimaryKeyConstraint("account_id", "collector_id", "seq"),
    # Recognises a batch that is written again because its answer was lost. Ids are time-ordered: this stays cheap.
    UniqueConstraint("account_id", "ingestion_id"),
)

inbox_seq = Sequence("inbox_seq", metadata=metadata)

# --- streams --------------------------------------------------------------------------------------------------------

streams = Table(
    "streams",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    instant("created_at"),
    instant("updated_at"),
    instant("stop_before", nullable=True),  # runs that were started before end with their next step
    PrimaryKeyConstraint("account_id", "id"),
    UniqueConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["accounts.account_id"]),
)

# Without a tag it is the autosaved version, of which a stream has at most one: the newest. One that is deployed stays
# beside its successor until another is deployed, for it is what runs.
stream_versions = Table(
    "stream_versions",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("stream_id", Uuid, nullable=False),
    Column("id", Uuid, nullable=False),
    Column("version_no", BigInteger, Identity(always=True), nullable=False),  # order of creation
    Column("tag", Text, nullable=True),
    Column("description", Text, nullable=True),
    Column("document", Text, nullable=False),  # the JSON text as imported: jsonb would reorder and respell it
    Column("created_by", Text, nullable=True),
    Column("deployed", Boolean, nullable=False),
    Column("scheduled", Boolean, nullable=False),
    instant("created_at"),
    instant("updated_at"),
    PrimaryKeyConstraint("account_id", "stream_id", "id"),
    UniqueConstraint("account_id", "stream_id", "tag"),
    ForeignKeyConstraint(["account_id", "stream_id"], ["streams.account_id", "streams.id"], ondelete="CASCADE"),
    Index(
        "stream_versions_autosaved_key",
        "account_id",
        "stream_id",
        unique=True,
        postgresql_where=text("tag IS NULL AND NOT deployed"),
    ),
    Index("stream_versions_deployed_key", "account_id", "stream_id", unique=True, postgresql_where=text("deployed")),
)

# --- aggregation ----------------------------------------------------------------------------------------------------

# Open sessions of Script aggregators. The key's length is limited because it is an index key.
aggregation_sessions = Table(
    "aggregation_sessions",
    metadata,
    Column("account_id", Uuid, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("session_key", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("meta", JSONB, nullable=False),
    instant("timeout_at", nullable=True),
    instant("created_at"),
    instant("updated_at"),
    CheckConstraint("store_id ~ '^[0-9a-f]{40}$'", "store_id"),
    CheckConstraint("octet_length(session_key) <= 2048", "session_key"),
    PrimaryKeyConstraint("account_id", "store_id", "session_key"),
    Index(
        "aggregation_sessions_timeout_idx",
        "account_id",
        "store_id",
        "timeout_at",
        postgresql_where=text("timeout_at IS NOT NULL"),
    ),
)
