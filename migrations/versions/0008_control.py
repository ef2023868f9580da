"""Priorities, a queue for each watched folder, pauses, and the history of what people asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT: sa.Double[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    # Not in batch mode, which would copy the table.
    op.add_column("jobs", sa.Column("folder_raw", sa.LargeBinary()))
    op.add_column("jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("priority_given", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE jobs SET folder_raw = (SELECT r.folder_raw FROM recordings r WHERE r.id = recording_id)"
    )
    for name in ("ix_jobs_queue", "ix_jobs_twins"):
        op.drop_index(name, table_name="jobs")
    queue = ["isolate", "folder_raw", "unpublished", sa.text("priority DESC"), "id"]
    op.create_index("ix_jobs_queue", "jobs", queue, sqlite_where=sa.text("state = 'queued'"))
    op.create_index(
        "ix_jobs_twins",
        "jobs",
        ["identity", "priority", "id"],
        sqlite_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "pauses",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("folder_raw", sa.LargeBinary(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("since", _FLOAT, nullable=False),
        sa.Column("draining", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pauses"),
    )
    op.create_index("uq_pauses_folder_raw_draining", "pauses", ["folder_raw", "draining"], unique=True)
    op.create_table(
        "actions",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("at", _FLOAT, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("job_id", _BIG),
        sa.Column("folder", sa.Text()),
        sa.Column("found", sa.Text(), nullable=False),
        sa.Column("made", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_actions_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_actions"),
    )
    op.create_index("ix_actions_job_id", "actions", ["job_id"])
    op.create_index("ix_actions_at", "actions", ["at"])
