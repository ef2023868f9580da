"""Remove all that is on record of a recording, but for the fact that it was there.

What is deleted is overwritten where the database can do so, and its search index is rewritten, since deletions only hide words
there. The job stays as a tombstone without text: without it the file, if it is still in its folder, would be transcribed
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.escapes import readable
from dropscribe.ledger.columns import path_of, raw
from dropscribe.ledger.keeping import PurgedJob, PurgePlan
from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.outputs import output_of
from dropscribe.ledger.sql.jobs.transitions import BY_REQUEST, transition
from dropscribe.ledger.sql.keeping.retention import (
    REMOVE_ATTEMPTS,
    REMOVE_SEGMENTS,
    REMOVE_SPEAKERS,
    REMOVE_STAGES,
)
from dropscribe.ledger.sql.schema import backups

#: More rows than any table has.
_ALL = 2**62
#: Segments removed in one transaction, which locks the database for some 20 ms.
SEGMENTS = 50
_RECORDINGS = sql(
    "SELECT r.id, r.path_raw, r.folder_raw, r.sha256, r.departure, r.departed_raw FROM recordings o "
    "JOIN recordings r ON r.id = o.id OR (r.size = o.size AND r.sha256 = o.sha256) "
    "WHERE o.id = (SELECT recording_id FROM jobs WHERE id = :job) ORDER BY r.id = o.id DESC, r.id"
)
_JOBS = sql(
    "SELECT j.id, j.state, (SELECT count(*) FROM segments s WHERE s.job_id = j.id) AS segments FROM jobs j "
    "WHERE j.recording_id = :recording ORDER BY j.id"
)
_FILES = sql(
    "SELECT o.job_id, o.recording_raw, o.path_raw, o.format, o.sha256, o.published, o.bytes FROM outputs o "
    "JOIN jobs j ON j.id = o.job_id WHERE j.recording_id = :recording ORDER BY o.id"
)
_CANCEL = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL WHERE {legal} AND recording_id = :recording",
    )
)
_JOB_IDS = sql("SELECT id FROM jobs WHERE recording_id = :recording")
_REMOVE_OUTPUTS = sql("DELETE FROM outputs WHERE job_id = :job")
# They may have the text, if the settings say so.
_REMOVE_NOTIFICATIONS = sql("DELETE FROM outbox WHERE job_id = :job")
_EMPTY = sql(
    "UPDATE jobs SET identity = NULL, reference_job_id = NULL, media = NULL, engine = NULL, timings = NULL, "
    "truncated = NULL, characters = NULL, remedy = NULL, "
    "reason = CASE WHEN state IN ('failed', 'cancelled') THEN :reason END, "
    "text_removed_at = :now, logs_removed_at = :now, files_removed_at = :now, purged_at = :now WHERE id = :job"
)
_REMOVE_SKIPS = sql(
    "DELETE FROM skips WHERE path_raw = (SELECT path_raw FROM recordings WHERE id = :recording)"
)
_NO_FOLLOWING = sql("UPDATE recordings SET outputs_of_raw = NULL WHERE id = :recording")
# From here on nobody takes what is left of its words for the whole.
_CLOSE_TEXT = sql(
    "UPDATE jobs SET identity = NULL, text_removed_at = coalesce(text_removed_at, 0) WHERE id = :job"
)
_BACKUPS = sql("SELECT path_raw, made_at FROM backups ORDER BY made_at, id")
_FORGET_BACKUP = sql("DELETE FROM backups WHERE path_raw = :path")
PURGED = "what was on record of it was purged"


class Purging:
    """Purging of recordings."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def purge_plans(self, job: int) -> list[PurgePlan]:
        """See `Keeping.purge_plans`."""
        with self._db.read("read a recording") as connection:
            return [_plan(connection, row) for row in connection.execute(_RECORDINGS, {"job": job}).all()]

    def purge(self, recordings: Sequence[int], now: float) -> None:
        """See `Keeping.purge`."""
        with self._db.overwriting("purge recordings") as connection:
            jobs = [
                int(job)
                for recording in recordings
                for job in connection.scalars(_JOB_IDS, {"recording": recording})
            ]
            for job in jobs:
                connection.execute(_CLOSE_TEXT, {"job": job})
        for job in jobs:
            removed = SEGMENTS
            while removed >= SEGMENTS:
                with self._db.overwriting("purge recordings") as connection:
                    removed = connection.execute(REMOVE_SEGMENTS, {"job": job, "most": SEGMENTS}).rowcount
        with self._db.overwriting("purge recordings") as connection:
            for recording in recordings:
                _purge(connection, recording, self._db.instant(now))

    def shrink_log(self) -> bool:
        """See `Keeping.shrink_log`."""
        return self._db.shrink_log("shorten the log")

    def merge_search(self, pages: int) -> bool:
        """See `Keeping.merge_search`."""
        return self._db.merge_search(pages)

    def record_backup(self, path: Path, now: float) -> None:
        """See `Keeping.record_backup`."""
        row = {"path_raw": raw(path), "path": readable(path), "made_at": self._db.instant(now)}
        with self._db.write("record a backup") as connection:
            connection.execute(sa.insert(backups), row)

    def backups(self) -> list[tuple[Path, float]]:
        """See `Keeping.backups`."""
        with self._db.read("read the backups") as connection:
            return [(path_of(row.path_raw), row.made_at) for row in connection.execute(_BACKUPS)]

    def forget_backups(self, paths: Sequence[Path]) -> None:
        """See `Keeping.forget_backups`."""
        if paths:
            with self._db.write("forget backups") as connection:
                connection.execute(_FORGET_BACKUP, [{"path": raw(path)} for path in paths])


def _plan(connection: Connection, row: Row[Any]) -> PurgePlan:
    of = {"recording": row.id}
    return PurgePlan(
        row.id, path_of(row.path_raw), path_of(row.folder_raw), row.sha256, row.departure,
        None if row.departed_raw is None else path_of(row.departed_raw),
        tuple(PurgedJob(j.id, JobState(j.state), j.segments) for j in connection.execute(_JOBS, of)),
        tuple(output_of(o) for o in connection.execute(_FILES, of)),
    )  # fmt: skip


def _purge(connection: Connection, recording: int, now: float) -> None:
    values = {"recording": recording, "now": now, "code": BY_REQUEST, "reason": PURGED, "most": _ALL}
    connection.execute(_CANCEL, values)
    for job in connection.scalars(_JOB_IDS, values).all():
        of_job = values | {"job": job}
        for statement in (
            REMOVE_SEGMENTS, REMOVE_SPEAKERS, REMOVE_STAGES, REMOVE_ATTEMPTS, _REMOVE_OUTPUTS,
            _REMOVE_NOTIFICATIONS, _EMPTY,
        ):  # fmt: skip
            connection.execute(statement, of_job)
    connection.execute(_REMOVE_SKIPS, values)
    connection.execute(_NO_FOLLOWING, values)
