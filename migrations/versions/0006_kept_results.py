"""A result can be on record before its files are published, and is shared by profiles with the same recipe.

`jobs.unpublished` counts failed publications. The identity of a job is its content and recipe, without the profile. Results
are found by their facts, not by the state of their job; queued jobs of damaged databases may have facts without segments.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode, which would copy the table: a million rows, and their children hang on them.
    op.add_column("jobs", sa.Column("unpublished", sa.Integer(), nullable=False, server_default="0"))
    for name in ("ix_jobs_queue", "ix_jobs_twins", "ix_jobs_results"):
        op.drop_index(name, table_name="jobs")
    op.execute("UPDATE jobs SET media = NULL WHERE state <> 'done' AND media IS NOT NULL")
    op.execute(
        "UPDATE jobs SET identity = (SELECT r.sha256 FROM recordings r WHERE r.id = recording_id) || '|' || recipe "
        "WHERE identity IS NOT NULL"
    )
    for name, columns, condition in (
        ("ix_jobs_queue", ["isolate", "unpublished", "id"], "state = 'queued'"),
        ("ix_jobs_twins", ["identity", "id"], "state IN ('queued', 'running')"),
        ("ix_jobs_results", ["identity", "id"], "media IS NOT NULL AND reference_job_id IS NULL"),
    ):
        op.create_index(name, "jobs", columns, sqlite_where=sa.text(condition))
