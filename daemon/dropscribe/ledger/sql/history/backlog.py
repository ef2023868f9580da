"""How much waits in each watched folder, in recordings and hours of audio."""

from __future__ import annotations

from dropscribe.ledger.columns import path_of
from dropscribe.ledger.control import FolderBacklog
from dropscribe.ledger.records import HELD
from dropscribe.ledger.sql.dialect import Database, sql

# The length of a recording is not known before it is decoded. It is estimated from its size, by the newest recordings of the
# same kind: of one extension the bit rates differ less than of all.
_KIND = "lower(@ending(r.path, 4))"
_WAITING = sql(
    "SELECT j.folder_raw, {kind} AS kind, count(*) AS jobs, sum(r.size) AS bytes, "
    "sum(@flag(coalesce(j.reason_code, '') IN ({held}))) AS held "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.state = 'queued' GROUP BY 1, 2".replace(
        "{kind}", _KIND
    ).replace("{held}", ", ".join(f"'{code}'" for code in HELD))
)
_SEEN = sql(
    "SELECT {kind} AS kind, sum(j.audio_ms) AS ms, sum(r.size) AS bytes FROM ("
    "SELECT recording_id, audio_ms FROM jobs WHERE state = 'done' AND audio_ms > 0 ORDER BY admitted_at DESC LIMIT 500"
    ") j JOIN recordings r ON r.id = j.recording_id GROUP BY 1".replace("{kind}", _KIND)
)


class Backlog:
    """Queries about the queue."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def by_folder(self) -> list[FolderBacklog]:
        """See `Ledger.backlog`."""
        with self._db.read("measure the queue") as connection:
            seen = {r.kind: (r.ms / 1000, r.bytes) for r in connection.execute(_SEEN)}
            waiting = connection.execute(_WAITING).all()
        of_all = sum(s for s, _ in seen.values()), sum(b for _, b in seen.values())
        found: dict[bytes, FolderBacklog] = {}
        for row in waiting:
            seconds, size = seen.get(row.kind, of_all)
            audio = row.bytes * seconds / size if size else None
            before = found.get(row.folder_raw)
            known = None if audio is None else audio + (before.audio_s or 0.0 if before else 0.0)
            found[row.folder_raw] = FolderBacklog(
                path_of(row.folder_raw),
                row.jobs + (before.recordings if before else 0),
                row.held + (before.held if before else 0),
                known,
            )
        return sorted(found.values(), key=lambda b: -b.recordings)
