"""The sandbox's clock: the installation's, not a tenant's."""

from sqlalchemy import BigInteger, CheckConstraint, Column, SmallInteger, Table

from meterhouse.tables.schema import metadata

# One row once the clock was moved: by how much it is ahead. It is never set back.
sandbox_clock = Table(
    "sandbox_clock",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("ahead_microseconds", BigInteger, nullable=False),
    CheckConstraint("id = 1", "id"),
    CheckConstraint("ahead_microseconds >= 0", "ahead"),
)
