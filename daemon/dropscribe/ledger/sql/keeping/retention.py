"""Remove words, stages and attempts of done jobs; the jobs stay, so that nothing is transcribed again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection, Row

from dropscribe.files import FileSignature
from dropscribe.ledger.columns import inode_of, mtime_of, path_of, storable
from dropscribe.ledger.keeping import FinishedRecording
from dropscribe.ledger.records import Whereabouts
from dropscribe.ledger.sql.dialect import Database, sql

_FINISHED = sql(
    "SELECT j.id, j.recording_id, j.profile, j.finished_at, r.path_raw, r.folder_raw, r.size, r.mtime_ns, r.inode, "
    "r.sha256, r.latest = 1 AND j.id = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = j.recording_id) AS newest, "
    "coalesce(j.text_removed_at, 0) = 0 AND j.reference_job_id IS NULL AND j.purged_at IS NULL AS text, "
    "j.logs_removed_at IS NULL AND j.purged_at IS NULL AS logs, "
    "j.files_removed_at IS NULL AND j.purged_at IS NULL AS files, r.departure IS NULL AND j.purged_at IS NULL AS recording "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.state = 'done' "
    "AND (j.finished_at, j.id) > (:finished_at, :id) AND j.finished_at <= :until "
    "AND @storage(r.folder_raw) IN @texts(:kept) "
    "ORDER BY j.finished_at, j.id LIMIT :limit"
)
# Another job that uses the result, or is about to, keeps it. From here on the result is not shared: a copy that is dropped
# later is transcribed anew.
_TERM = "coalesce(@entry(:before, {job}.profile), @entry(:before, 'default'))"
_BEGIN_TEXT = sql(
    "UPDATE jobs SET identity = NULL, text_removed_at = 0 WHERE id = :job AND state = 'done' "
    "AND reference_job_id IS NULL AND text_removed_at IS NULL AND finished_at <= {own} "
    "AND NOT EXISTS (SELECT 1 FROM jobs u WHERE u.reference_job_id = :job "
    "AND (u.state IN ('queued', 'running') OR (u.state = 'done' AND u.finished_at > {users}))) "
    "AND NOT EXISTS (SELECT 1 FROM jobs t WHERE t.identity = jobs.identity AND t.state IN ('queued', 'running'))".replace(
        "{own}", _TERM.replace("{job}", "jobs")
    ).replace("{users}", _TERM.replace("{job}", "u"))
)
_BEGUN = sql("SELECT 1 FROM jobs WHERE id = :job AND text_removed_at = 0")
REMOVE_SEGMENTS = sql(
    "DELETE FROM segments WHERE id IN (SELECT id FROM segments WHERE job_id = :job LIMIT :most)"
)
REMOVE_SPEAKERS = sql("DELETE FROM job_speakers WHERE job_id = :job")
_END_TEXT = sql(
    "UPDATE jobs SET text_removed_at = :now WHERE id = :job OR (reference_job_id = :job AND state = 'done')"
)
# A failed job that is tried again must not look for it.
LEAVE_REFERENCE = sql(
    "UPDATE jobs SET reference_job_id = NULL WHERE reference_job_id = :job AND state IN ('failed', 'cancelled')"
)
REMOVE_STAGES = sql("DELETE FROM stage_timings WHERE job_id = :job")
REMOVE_ATTEMPTS = sql("DELETE FROM attempts WHERE job_id = :job")
_LOGS = sql("UPDATE jobs SET logs_removed_at = :now WHERE id = :job AND state = 'done'")
_FILES = sql("UPDATE jobs SET files_removed_at = :now WHERE id = :job AND state = 'done'")


_WHEREABOUTS = sql(
    "SELECT nullif(j.text_removed_at, 0) AS text_removed_at, j.logs_removed_at, j.files_removed_at, j.purged_at, "
    "r.departure, r.departed_raw, r.departed_at FROM jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.id = :job"
)


class Retention:
    """Retention of what the database has of done jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def instant(self, now: float) -> float:
        """See `Keeping.instant`."""
        return self._db.instant(now)

    def finished(self, after: tuple[float, int], until: float, limit: int) -> list[FinishedRecording]:
        """See `Keeping.finished`."""
        values = {
            "finished_at": after[0],
            "id": after[1],
            "until": until,
            "limit": limit,
            "kept": json.dumps(self._db.kept()),
        }
        with self._db.read("read finished jobs") as connection:
            return [_finished(row) for row in connection.execute(_FINISHED, values)]

    def remove_text(
        self, jobs: Sequence[int], now: float, *, finished_before: Mapping[str, float], most: int
    ) -> list[int]:
        """See `Keeping.remove_text`."""
        settled: list[int] = []
        at = self._db.instant(now)
        left = most
        before = json.dumps({storable(profile): instant for profile, instant in finished_before.items()})
        with self._db.write("remove text") as connection:
            for job in jobs:
                if left <= 0:
                    break
                connection.execute(_BEGIN_TEXT, {"job": job, "before": before})
                if connection.execute(_BEGUN, {"job": job}).first() is None:
                    settled.append(job)
                    continue
                left -= connection.execute(REMOVE_SEGMENTS, {"job": job, "most": left}).rowcount
                if left > 0:
                    for statement in (REMOVE_SPEAKERS, LEAVE_REFERENCE, _END_TEXT):
                        connection.execute(statement, {"job": job, "now": at})
                    settled.append(job)
                    # Jobs without text cost time, too.
                    left -= 1
        return settled

    def remove_logs(self, jobs: Sequence[int], now: float) -> None:
        """See `Keeping.remove_logs`."""
        if jobs:
            rows = [{"job": job, "now": self._db.instant(now)} for job in jobs]
            with self._db.write("remove logs") as connection:
                for statement in (REMOVE_STAGES, REMOVE_ATTEMPTS, _LOGS):
                    connection.execute(statement, rows)

    def files_removed(self, jobs: Sequence[int], now: float) -> None:
        """See `Keeping.files_removed`."""
        if jobs:
            rows = [{"job": job, "now": self._db.instant(now)} for job in jobs]
            with self._db.write("record removed files") as connection:
                connection.execute(_FILES, rows)


def whereabouts(connection: Connection, job: int) -> Whereabouts:
    """What was removed or moved after a job was done, within a transaction."""
    row = connection.execute(_WHEREABOUTS, {"job": job}).one()
    departed = None if row.departed_raw is None else path_of(row.departed_raw)
    return Whereabouts(
        row.text_removed_at, row.logs_removed_at, row.files_removed_at, row.purged_at, row.departure, departed,
        row.departed_at,
    )  # fmt: skip


def _finished(row: Row[Any]) -> FinishedRecording:
    return FinishedRecording(
        row.id, row.recording_id, path_of(row.path_raw), path_of(row.folder_raw), row.profile,
        FileSignature(row.size, mtime_of(row.mtime_ns), inode_of(row.inode)), row.sha256, row.finished_at,
        bool(row.newest), bool(row.text), bool(row.logs), bool(row.files), bool(row.recording),
    )  # fmt: skip
