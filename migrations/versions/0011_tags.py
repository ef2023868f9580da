"""Language, emotion and sound events of segments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode, which would copy the table.
    op.add_column("segments", sa.Column("tags", sa.Text()))
