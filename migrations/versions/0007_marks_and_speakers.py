"""Punctuation, speakers, known voices, and transcripts made again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT: sa.Double[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    # Not in batch mode, which would copy the tables.
    op.add_column("jobs", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("jobs", sa.Column("supersedes_id", _BIG))
    op.add_column("segments", sa.Column("marks", sa.LargeBinary()))
    op.add_column("segments", sa.Column("speakers", sa.LargeBinary()))
    op.create_table(
        "job_speakers",
        sa.Column("job_id", _BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary()),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_speakers_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_speakers"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "voices",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", _FLOAT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_voices"),
    )
    op.create_index("uq_voices_name_model", "voices", ["name", "model"], unique=True)
