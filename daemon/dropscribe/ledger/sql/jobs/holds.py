"""Hold the jobs of a folder, and correct delays and leases when the system's clock is set.

Delays and leases are stored as instants, so that they survive a restart. Setting the clock would end them early or
extend them by years.
"""

from __future__ import annotations

from pathlib import Path

from dropscribe.ledger.columns import below, storable
from dropscribe.ledger.records import AWAY, HOLD_S
from dropscribe.ledger.sql.dialect import Database, here, sql

# `:beyond` is the length of the path of the folder with its slash, or NULL for recordings below it at any depth. A path is a
# BLOB, in which instr() finds bytes.
_IN_FOLDER = (
    "EXISTS (SELECT 1 FROM recordings r WHERE r.id = recording_id AND @within(r.path_raw, :first, :last) "
    "AND (CAST(:beyond AS INTEGER) IS NULL OR @slash(substr(r.path_raw, CAST(:beyond AS INTEGER) + 1)) = 0))"
)
# Isolated jobs are left out: they are few, and their claim has its own timer (`next_isolated`).
_HOLD = sql(
    "UPDATE jobs SET not_before = :until, reason_code = :code, reason = :reason, remedy = :remedy "
    "WHERE state = 'queued' AND isolate = 0 AND not_before < :renew AND {in_folder}".replace(
        "{in_folder}", _IN_FOLDER
    )
)
_RESUME = sql(
    "UPDATE jobs SET not_before = :now, reason_code = NULL, reason = NULL, remedy = NULL "
    "WHERE state = 'queued' AND reason_code = :code AND {in_folder}".replace("{in_folder}", _IN_FOLDER)
)
_SHIFT_DELAYS = sql(
    "UPDATE jobs SET not_before = @greatest(0.0, not_before + :jump) WHERE state = 'queued' AND not_before > 0"
)
_SHIFT_LEASES = sql("UPDATE jobs SET lease_until = lease_until + :jump WHERE state = 'running'")
_RESET = sql(
    "UPDATE jobs SET not_before = :now "
    "WHERE state = 'queued' AND (not_before > :now + :longest "
    "OR ((isolate = 1 OR unpublished > 0) AND not_before > :now)) AND @storage(folder_raw) IN @texts(:here)"
)


class Holds:
    """Holds and delays of queued jobs, leases of running ones."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def hold(
        self, folder: Path, now: float, *, reason: str, remedy: str, code: str = AWAY, recursive: bool = True
    ) -> int:
        """See `Ledger.hold`."""
        values = self._place(folder, recursive=recursive) | {
            "until": now + HOLD_S, "renew": now + HOLD_S / 2,
            "code": code, "reason": storable(reason), "remedy": storable(remedy) or None,
        }  # fmt: skip
        with self._db.write("hold the jobs of a folder") as connection:
            return int(connection.execute(_HOLD, values).rowcount)

    def resume(self, folder: Path, now: float, *, code: str = AWAY, recursive: bool = True) -> int:
        """See `Ledger.resume`."""
        values = self._place(folder, recursive=recursive) | {"now": now, "code": code}
        with self._db.write("resume the jobs of a folder") as connection:
            return int(connection.execute(_RESUME, values).rowcount)

    def shift_instants(self, jump: float) -> None:
        """See `Ledger.shift_instants`. Instants by the clock of a server stay: it was not that one that was set."""
        if self._db.by_server_clock:
            return
        with self._db.write("shift delays and leases") as connection:
            connection.execute(_SHIFT_DELAYS, {"jump": jump})
            connection.execute(_SHIFT_LEASES, {"jump": jump})

    def reset_overlong_delays(self, now: float, longest_s: float) -> int:
        """See `Ledger.reset_overlong_delays`. Delays of isolated jobs are reset in any case, see `_RESET`."""
        with self._db.write("reset overlong delays") as connection:
            return int(
                connection.execute(
                    _RESET, {"now": now, "longest": longest_s, "here": here(self._db)}
                ).rowcount
            )

    def _place(self, folder: Path, *, recursive: bool) -> dict[str, object]:
        """Values of `_IN_FOLDER`."""
        first, last = below(folder)
        beyond = None if recursive else len(self._db.places.key(first))
        return {"first": first, "last": last, "beyond": beyond}
