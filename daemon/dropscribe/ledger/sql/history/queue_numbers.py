"""Count what waits and what is in progress, by indexes of just these jobs."""

from __future__ import annotations

import sqlalchemy as sa

from dropscribe.ledger.records import QueueNumbers
from dropscribe.ledger.sql.dialect import Database

_QUEUED = sa.text(
    "SELECT coalesce(reason_code, '') AS reason, count(*) AS jobs, min(admitted_at) AS oldest "
    "FROM jobs WHERE state = 'queued' GROUP BY coalesce(reason_code, '')"
)
_RUNNING = sa.text("SELECT count(*) FROM jobs WHERE state = 'running'")


def queue_numbers(db: Database) -> QueueNumbers:
    """See `Ledger.queue_numbers`."""
    with db.read("count queued jobs") as connection:
        rows = connection.execute(_QUEUED).all()
        running = int(connection.scalar(_RUNNING) or 0)
    oldest = min((float(row.oldest) for row in rows), default=None)
    return QueueNumbers({str(row.reason): int(row.jobs) for row in rows}, running, oldest)
