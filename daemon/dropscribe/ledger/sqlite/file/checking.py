"""Have SQLite check a database, for a limited time."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: Findings that are read at most; the first says enough.
MOST_FINDINGS = 10
#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 10_000


def findings(connection: Connection, check: str, limit_s: float | None = None) -> tuple[str, ...]:
    """What the PRAGMA `check` (quick_check, integrity_check) finds, () for a sound database.

    After `limit_s` seconds the check is ended, as if nothing were to be found. Raises DBAPIError where damage keeps
    SQLite from checking.
    """
    raw: Any = connection.connection.driver_connection
    ended = [False]
    if limit_s is not None:
        deadline = time.monotonic() + limit_s

        def over() -> bool:
            ended[0] = time.monotonic() > deadline
            return ended[0]

        raw.set_progress_handler(over, _STEPS)
    try:
        rows = connection.exec_driver_sql(f"PRAGMA {check}({MOST_FINDINGS})").scalars().all()
    except sa.exc.OperationalError:
        if ended[0]:
            return ()
        raise
    finally:
        raw.set_progress_handler(None, 0)
    return tuple(str(row) for row in rows if row != "ok")
