"""Record where recordings are that dropscribe moves or deletes after they were transcribed.

The intent is committed before the file is touched, the end after it, so that a kill between the two leaves a record of both
places.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Row

from dropscribe.files import FileSignature
from dropscribe.ledger.columns import inode_of, mtime_of, path_of, raw
from dropscribe.ledger.keeping import Departure
from dropscribe.ledger.sql.dialect import Database, sql

_INTEND = sql(
    "UPDATE recordings SET departure = :departure, departed_raw = :target, departed_at = :now "
    "WHERE id = (SELECT recording_id FROM jobs WHERE id = :job AND state = 'done') AND latest = 1 AND departure IS NULL "
    "AND outputs_of_raw IS NULL AND NOT EXISTS (SELECT 1 FROM jobs p WHERE p.recording_id = recordings.id AND p.purged_at "
    "IS NOT NULL) AND :job = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = recordings.id) RETURNING id"
)
_DEPARTURES = (
    "SELECT r.id, r.path_raw, r.folder_raw, r.size, r.mtime_ns, r.inode, r.sha256, r.departed_raw, j.id AS job_id, "
    "j.profile FROM recordings r JOIN jobs j ON j.id = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = r.id) "
    "WHERE {which}"
)
_ONE = sql(_DEPARTURES.replace("{which}", "r.id = :recording"))
_INTENDED = sql(
    _DEPARTURES.replace(
        "{which}",
        "r.departure IN ('moving', 'deleting') AND @storage(r.folder_raw) IN @texts(:kept) ORDER BY r.id",
    )
)
_DEPARTED = sql(
    "UPDATE recordings SET departure = CASE departure WHEN 'moving' THEN 'moved' ELSE 'deleted' END, departed_at = :now, "
    "outputs_of_raw = CASE WHEN :follow = 1 AND departure = 'moving' THEN path_raw ELSE outputs_of_raw END "
    "WHERE id = :recording AND departure IN ('moving', 'deleting')"
)
_STAYED = sql(
    "UPDATE recordings SET departure = NULL, departed_raw = NULL, departed_at = NULL "
    "WHERE id = :recording AND departure IN ('moving', 'deleting')"
)


class Departures:
    """Recordings that are moved or deleted."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def depart(self, job: int, target: Path | None, now: float) -> Departure | None:
        """See `Keeping.depart`."""
        values = {
            "job": job, "now": self._db.instant(now), "departure": "deleting" if target is None else "moving",
            "target": None if target is None else raw(target),
        }  # fmt: skip
        with self._db.write("record the move of a recording") as connection:
            recording = connection.scalar(_INTEND, values)
            if recording is None:
                return None
            return _departure(connection.execute(_ONE, {"recording": recording}).one())

    def departed(self, recording: int, now: float, *, outputs_follow: bool) -> None:
        """See `Keeping.departed`."""
        values = {"recording": recording, "now": self._db.instant(now), "follow": int(outputs_follow)}
        with self._db.write("record a moved recording") as connection:
            connection.execute(_DEPARTED, values)

    def stayed(self, recording: int) -> None:
        """See `Keeping.stayed`."""
        with self._db.write("record that a recording stayed") as connection:
            connection.execute(_STAYED, {"recording": recording})

    def departures(self) -> list[Departure]:
        """See `Keeping.departures`."""
        with self._db.read("read moves of recordings") as connection:
            return [
                _departure(row)
                for row in connection.execute(_INTENDED, {"kept": json.dumps(self._db.kept())})
            ]


def _departure(row: Row[Any]) -> Departure:
    return Departure(
        row.id, row.job_id, path_of(row.path_raw), path_of(row.folder_raw), row.profile,
        FileSignature(row.size, mtime_of(row.mtime_ns), inode_of(row.inode)), row.sha256,
        None if row.departed_raw is None else path_of(row.departed_raw),
    )  # fmt: skip
