"""Until when jobs wait, kept right when the folder they lie in is away and when the system's clock is set.

Waits and leases are instants on the record, so that they outlive the process; but a clock that is set would cut them
short or stretch them for years.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from dropscribe.ledger.records import AWAY, HOLD_S
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.paths import below, storable

_IN_FOLDER = "EXISTS (SELECT 1 FROM recordings r WHERE r.id = recording_id AND r.path_raw >= :first AND r.path_raw < :last)"
# Jobs to be tried alone are left out: few, and whoever claims looks for them when their own wait is over.
_HOLD = sa.text(
    "UPDATE jobs SET not_before = :until, reason_code = :code, reason = :reason, remedy = :remedy "
    "WHERE state = 'queued' AND isolate = 0 AND not_before < :renew AND {in_folder}".replace(
        "{in_folder}", _IN_FOLDER
    )
)
_RESUME = sa.text(
    "UPDATE jobs SET not_before = :now, reason_code = NULL, reason = NULL, remedy = NULL "
    "WHERE state = 'queued' AND reason_code = :code AND {in_folder}".replace("{in_folder}", _IN_FOLDER)
)
_SHIFT_WAITS = sa.text(
    "UPDATE jobs SET not_before = max(0.0, not_before + :jump) WHERE state = 'queued' AND not_before > 0"
)
_SHIFT_LEASES = sa.text("UPDATE jobs SET lease_until = lease_until + :jump WHERE state = 'running'")
_CUT = sa.text(
    "UPDATE jobs SET not_before = :now "
    "WHERE state = 'queued' AND (not_before > :now + :longest OR (isolate = 1 AND not_before > :now))"
)


class Holds:
    """Waits of queued jobs, leases of running ones. Thread-safe, also between processes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def hold(self, folder: Path, now: float, *, reason: str, remedy: str, code: str = AWAY) -> int:
        """Have the queued jobs of recordings below `folder` wait, and say why; how many were told to anew.

        The caller does so again every `HOLD_S` / 2 at most, until `resume`.
        """
        first, last = below(folder)
        values = {
            "until": now + HOLD_S, "renew": now + HOLD_S / 2, "first": first, "last": last,
            "code": code, "reason": storable(reason), "remedy": storable(remedy) or None,
        }  # fmt: skip
        with self._db.write("hold the jobs of a folder") as connection:
            return int(connection.execute(_HOLD, values).rowcount)

    def resume(self, folder: Path, now: float, *, code: str = AWAY) -> int:
        """What `hold` held under that code may be claimed at once; how many."""
        first, last = below(folder)
        values = {"now": now, "first": first, "last": last, "code": code}
        with self._db.write("resume the jobs of a folder") as connection:
            return int(connection.execute(_RESUME, values).rowcount)

    def clock_jumped(self, jump: float) -> None:
        """The system's clock was set forward by `jump` seconds (back, if negative): what was to come comes as soon as before."""
        with self._db.write("follow the clock") as connection:
            connection.execute(_SHIFT_WAITS, {"jump": jump})
            connection.execute(_SHIFT_LEASES, {"jump": jump})

    def cut(self, now: float, longest_s: float) -> int:
        """At start: nothing waits longer than any wait is, whatever the clock was when it began; how many did."""
        with self._db.write("cut overlong waits") as connection:
            return int(connection.execute(_CUT, {"now": now, "longest": longest_s}).rowcount)
