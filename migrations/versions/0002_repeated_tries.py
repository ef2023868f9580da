"""How many tries a row of `attempts` stands for; those of the older schema stand for themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in batch mode, which would copy the table and forget that it has no row ids.
    op.add_column("attempts", sa.Column("times", sa.Integer(), nullable=False, server_default="1"))
