"""Runs migrations one process at a time, each under a lock and a statement timeout."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine, text

from meterhouse.tables import metadata

# Any fixed number: all processes that migrate this database wait on it.
ADVISORY_LOCK = 7_263_542_118


def run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
    try:
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.execute(text("SET statement_timeout = '10min'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
        connection.commit()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(os.environ["METERHOUSE_DATABASE_URL"]).connect() as own:
        run(own)
