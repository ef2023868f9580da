"""Do finished jobs again, as new versions, and name the speakers of their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.escapes import readable
from dropscribe.ledger.columns import below, path_of, raw, storable
from dropscribe.ledger.control import Verb
from dropscribe.ledger.records import FinishedJob, JobState, Redo, Redone
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.jobs.actions import record
from dropscribe.ledger.sqlite.jobs.admission import identity_of
from dropscribe.ledger.sqlite.schema import jobs

_NEWEST = (
    "SELECT j.id, j.profile, j.recipe, j.state, r.path_raw, r.folder_raw FROM recordings r JOIN jobs j ON j.id = "
    "(SELECT max(n.id) FROM jobs n WHERE n.recording_id = r.id) "
    "WHERE r.latest = 1 AND j.state IN ('done', 'failed'){where} ORDER BY r.path_raw"
)
_ALL = sa.text(_NEWEST.replace("{where}", ""))
_BELOW = sa.text(
    _NEWEST.replace("{where}", " AND (r.path_raw = :path OR r.path_raw >= :first AND r.path_raw < :last)")
)
_JOB = sa.text(
    "SELECT j.id, j.recording_id, j.recipe, j.state, j.settle_s, r.path_raw, r.folder_raw, r.sha256, r.latest, j.priority, j.priority_given, "
    "r.departure, r.departed_raw, "
    "CASE WHEN j.media IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.id IN (j.id, j.reference_job_id) "
    "AND o.text_removed_at IS NOT NULL) THEN coalesce(j.reference_job_id, j.id) END AS origin, "
    "(SELECT max(n.version) FROM jobs n WHERE n.recording_id = j.recording_id) AS version, "
    "(SELECT min(n.id) FROM jobs n WHERE n.recording_id = j.recording_id AND n.state IN ('queued', 'running')) AS unfinished "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.id = :id"
)
_NAME = sa.text(
    "UPDATE job_speakers SET name = :name WHERE number = :number AND job_id = "
    "(SELECT coalesce(reference_job_id, id) FROM jobs WHERE id = :id)"
)


class Redoing:
    """Jobs that are done again."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def finished(self, of: Path | None) -> list[FinishedJob]:
        """See `Ledger.finished_jobs`."""
        with self._db.read("read finished jobs") as connection:
            if of is None:
                rows = connection.execute(_ALL)
            else:
                first, last = below(of)
                rows = connection.execute(_BELOW, {"path": raw(of), "first": first, "last": last})
            return [
                FinishedJob(
                    row.id,
                    path_of(row.path_raw),
                    path_of(row.folder_raw),
                    row.profile,
                    row.recipe,
                    JobState(row.state),
                )
                for row in rows
            ]

    def redo(self, requests: Sequence[Redo], now: float, who: str) -> list[Redone]:
        """See `Ledger.redo`."""
        with self._db.write("queue jobs again") as connection:
            answers = [_again(connection, one, now) for one in requests]
            for one in answers if who else ():
                if one.new_job_id is not None:
                    made = f"job {one.new_job_id} queued"
                    record(connection, now, who, Verb.REDO, job_id=one.job_id, found="finished", made=made)
            return answers

    def name_speaker(self, job_id: int, number: int, name: str | None) -> bool:
        """See `Ledger.name_speaker`."""
        with self._db.write("name a speaker") as connection:
            values = {"id": job_id, "number": number, "name": None if name is None else storable(name)}
            return connection.execute(_NAME, values).rowcount > 0


def _again(connection: Connection, one: Redo, now: float) -> Redone:
    row = connection.execute(_JOB, {"id": one.job_id}).one_or_none()
    if row is None:
        return Redone(one.job_id, reason="there is no such job")
    recording = path_of(row.path_raw)
    reason = ""
    if not row.latest:
        reason = "the recording has other content by now"
    elif row.departure == "deleted":
        reason = "the recording was deleted after it was transcribed"
    elif row.departure is not None:
        reason = f"the recording was moved to {readable(path_of(row.departed_raw))}; move it back"
    elif row.unfinished is not None:
        reason = f"job {row.unfinished} of the recording is not finished yet"
    if reason:
        return Redone(one.job_id, recording=recording, reason=reason)
    recipe, version = storable(one.recipe), int(row.version) + 1
    origin = row.origin if row.recipe == recipe and not one.recognise else None
    # With a reference the result is known; one recognised on request must not take that of another recording.
    shared = one.share_result and origin is None and not one.recognise
    values: dict[str, Any] = {
        "recording_id": row.recording_id, "profile": storable(one.profile), "recipe": recipe,
        "identity": identity_of(str(row.sha256), recipe) if shared else None,
        "state": JobState.QUEUED.value, "attempts": 0, "max_attempts": one.max_attempts, "generation": 0,
        "not_before": 0.0, "isolate": 0, "settle_s": 0.0, "admitted_at": now, "reference_job_id": origin,
        "folder_raw": row.folder_raw, "priority": row.priority, "priority_given": row.priority_given,
        "version": version, "supersedes_id": None if one.keep_old else row.id,
    }  # fmt: skip
    made = connection.execute(sa.insert(jobs).returning(jobs.c.id), values).scalar_one()
    return Redone(one.job_id, int(made), recording, from_tokens=origin is not None, version=version)
