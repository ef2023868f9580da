"""Lists of the jobs of one folder, of which none is recent."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_folder", "jobs", ["folder_raw", "admitted_at"])
