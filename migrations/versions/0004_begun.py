"""Whether decoding has begun, and how often the daemon was killed while a recording was worked on alone.

The older schema counted a try at the claim. Which of the claimed jobs had begun is not on record there: none is suspected,
and none of these claims counts.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode, which would copy the table: a million rows, and their children hang on them.
    for name in ("begun", "lone_deaths", "others_done"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE jobs SET attempts = attempts - 1 WHERE state = 'running' AND attempts > 0")
