"""What was removed or moved after a job was done, recordings that were renamed, tombstones, and backups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT: sa.Double[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    # Not in batch mode, which would copy the tables.
    for name in ("text_removed_at", "logs_removed_at", "files_removed_at", "purged_at"):
        op.add_column("jobs", sa.Column(name, _FLOAT))
    op.add_column("recordings", sa.Column("departure", sa.Text()))
    op.add_column("recordings", sa.Column("departed_raw", sa.LargeBinary()))
    op.add_column("recordings", sa.Column("departed_at", _FLOAT))
    op.add_column("recordings", sa.Column("outputs_of_raw", sa.LargeBinary()))
    op.create_index("ix_jobs_finished", "jobs", ["finished_at", "id"], sqlite_where=sa.text("state = 'done'"))
    op.create_index(
        "ix_recordings_content",
        "recordings",
        ["size", "mtime_ns"],
        sqlite_where=sa.text("latest = 1"),
    )
    op.create_index(
        "ix_recordings_pending",
        "recordings",
        ["id"],
        sqlite_where=sa.text("outputs_of_raw IS NOT NULL OR departure IN ('moving', 'deleting')"),
    )
    op.create_table(
        "backups",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("path_raw", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("made_at", _FLOAT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backups"),
    )
