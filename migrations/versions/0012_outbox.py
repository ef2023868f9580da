"""Notifications: the outbox, what lasts and was announced, and targets that want no more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FLOAT: sa.Double[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _BIG, nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job_id", _BIG),
        sa.Column("facts", sa.Text()),
        sa.Column("at", _FLOAT, nullable=False),
        sa.Column("due_at", _FLOAT, nullable=False),
        sa.Column("digest", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lease_until", _FLOAT),
        sa.Column("claimed_by", sa.Text()),
        sa.Column("ended_at", _FLOAT),
        sa.Column("error", sa.Text()),
        sa.CheckConstraint("state IN ('pending', 'sent', 'failed')", name=op.f("ck_outbox_state")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_outbox_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    for name, columns, condition in (
        ("ix_outbox_due", ["target", "due_at", "id"], "state = 'pending'"),
        ("ix_outbox_sent", ["ended_at"], "state = 'sent'"),
        ("ix_outbox_failed", ["ended_at"], "state = 'failed'"),
        ("ix_outbox_job_id", ["job_id"], "job_id IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, "outbox", columns, sqlite_where=where, postgresql_where=where)
    op.create_index("ix_outbox_message", "outbox", ["message"])
    op.create_table(
        "conditions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since", _FLOAT, nullable=False),
        sa.Column("seen", _FLOAT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_conditions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "disabled_targets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", _FLOAT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_disabled_targets"),
        sqlite_with_rowid=False,
    )
