"""versions kept while deployed, retention by age"""

from hashlib import sha1

from alembic import op
import sqlalchemy as sa

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "stream_outputs",
        sa.Column("reached_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.alter_column("stream_outputs", "reached_at", server_default=None)
    op.add_column("stream_runs", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.alter_column("stream_runs", "failures", server_default=None)
    op.create_index("stream_outputs_reached_at_idx", "stream_outputs", ["reached_at"])
    op.create_index("stream_log_logged_at_idx", "stream_log", ["logged_at"])
    op.create_index(
        "stream_runs_ended_at_idx", "stream_runs", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL")
    )
    op.add_column("streams", sa.Column("stop_before", sa.DateTime(timezone=True), nullable=True))
    _index_autosaved("tag IS NULL AND NOT deployed")
    _correct_store_ids()


def downgrade() -> None:
    op.execute(
        """
        DELETE FROM stream_versions v WHERE tag IS NULL AND EXISTS (
            SELECT FROM stream_versions n
            WHERE n.account_id = v.account_id AND n.stream_id = v.stream_id AND n.tag IS NULL
                AND n.version_no > v.version_no)
        """
    )
    _index_autosaved("tag IS NULL")
    op.drop_column("streams", "stop_before")
    op.drop_index("stream_runs_ended_at_idx", table_name="stream_runs")
    op.drop_index("stream_log_logged_at_idx", table_name="stream_log")
    op.drop_column("stream_runs", "failures")
    op.drop_column("stream_outputs", "reached_at")


def _index_autosaved(which: str) -> None:
    op.drop_index("stream_versions_autosaved_key", table_name="stream_versions")
    op.create_index(
        "stream_versions_autosaved_key",
        "stream_versions",
        ["account_id", "stream_id"],
        unique=True,
        postgresql_where=sa.text(which),
    )


def _correct_store_ids() -> None:
    """They were written with another separator than the one under which sessions are stored."""
    connection = op.get_bind()
    found = connection.execute(
        sa.text("SELECT account_id, stream_id, node_id FROM stream_nodes WHERE store_id IS NOT NULL")
    )
    for row in found.mappings().all():
        store_id = sha1(f"{row['stream_id']}/{row['node_id']}".encode(), usedforsecurity=False).hexdigest()
        connection.execute(
            sa.text(
                "UPDATE stream_nodes SET store_id = :store_id"
                " WHERE account_id = :account_id AND stream_id = :stream_id AND node_id = :node_id"
            ),
            {**row, "store_id": store_id},
        )
