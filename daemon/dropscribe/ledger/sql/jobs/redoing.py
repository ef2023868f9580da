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
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.actions import record
from dropscribe.ledger.sql.jobs.admission import identity_of
from dropscribe.ledger.sql.jobs.results import segment_row
from dropscribe.ledger.sql.schema import jobs
from dropscribe.ledger.sql.schema import segments as segment_rows
from dropscribe.transcript.types import Segment

_NEWEST = (
    "SELECT j.id, j.profile, j.recipe, j.state, r.path_raw, r.folder_raw FROM recordings r JOIN jobs j ON j.id = "
    "(SELECT max(n.id) FROM jobs n WHERE n.recording_id = r.id) "
    "WHERE r.latest = 1 AND j.state IN ('done', 'failed'){where} ORDER BY r.path_raw"
)
_ALL = sql(_NEWEST.replace("{where}", ""))
_BELOW = sql(_NEWEST.replace("{where}", " AND (r.path_raw = :path OR @within(r.path_raw, :first, :last))"))
_JOB = sql(
    "SELECT j.id, j.recording_id, j.profile, j.version AS own_version, j.recipe, j.state, j.settle_s, r.path_raw, r.folder_raw, r.sha256, r.latest, j.priority, j.priority_given, "
    "r.departure, r.departed_raw, "
    "CASE WHEN j.media IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.id IN (j.id, j.reference_job_id) "
    "AND o.text_removed_at IS NOT NULL) THEN coalesce(j.reference_job_id, j.id) END AS origin, "
    "(SELECT max(n.version) FROM jobs n WHERE n.recording_id = j.recording_id) AS version, "
    "(SELECT min(n.id) FROM jobs n WHERE n.recording_id = j.recording_id AND n.state IN ('queued', 'running')) AS unfinished, "
    "(SELECT max(n.id) FROM jobs n WHERE n.recording_id = j.recording_id AND n.state = 'done') AS newest "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.id = :id"
)
_OWN_RESULT = sql(
    "UPDATE jobs SET (audio_ms, speech_ms, truncated, model, device, media, engine, timings) = "
    "(SELECT audio_ms, speech_ms, truncated, model, device, media, engine, timings FROM jobs WHERE id = :origin), "
    "characters = :characters WHERE id = :id"
)
_SAME_SPEAKERS = sql(
    "INSERT INTO job_speakers (job_id, number, name, kind, embedding) "
    "SELECT :id, number, name, kind, embedding FROM job_speakers WHERE job_id = :origin"
)
_CORRECTED = sql(
    "SELECT max(j.id) FROM actions a @joined() jobs j ON j.id = a.job_id WHERE a.action = :action AND j.state = 'done' "
    "AND j.text_removed_at IS NULL GROUP BY j.recording_id ORDER BY 1"
)
_WITH_CORRECTIONS = sql(
    "SELECT job_id FROM actions WHERE action = :action UNION "
    "SELECT j.id FROM actions a @joined() jobs j ON j.reference_job_id = a.job_id WHERE a.action = :action"
)
_NAME = sql(
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

    def redo(self, requests: Sequence[Redo], now: float, who: str, verb: Verb) -> list[Redone]:
        """See `Ledger.redo`."""
        with self._db.write("queue jobs again") as connection:
            answers = [_again(connection, one, now) for one in requests]
            for one in answers if who else ():
                if one.new_job_id is not None:
                    made = f"job {one.new_job_id} queued"
                    record(connection, now, who, verb, job_id=one.job_id, found="finished", made=made)
            return answers

    def revise(
        self, job_id: int, segments: Sequence[Segment], max_attempts: int, now: float, who: str
    ) -> Redone:
        """See `Ledger.revise`."""
        with self._db.write("store a correction") as connection:
            row: Any = connection.execute(_JOB, {"id": job_id}).one_or_none()
            reason = _refusal(row)
            if not reason and row.newest != job_id:
                reason = f"job {row.newest} has a newer version of this transcript"
            if not reason and row.origin is None:
                reason = "its text was removed"
            if reason:
                return Redone(job_id, recording=None if row is None else path_of(row.path_raw), reason=reason)
            values = _values(row, row.profile, row.recipe, max_attempts, now) | {"supersedes_id": job_id}
            made = int(connection.execute(sa.insert(jobs).returning(jobs.c.id), values).scalar_one())
            of = {"id": made, "origin": row.origin, "characters": sum(len(s.text) for s in segments)}
            connection.execute(_OWN_RESULT, of)
            connection.execute(_SAME_SPEAKERS, {"id": made, "origin": row.origin})
            if segments:
                connection.execute(sa.insert(segment_rows), [segment_row(made, s) for s in segments])
            version = int(values["version"])
            found = f"version {row.own_version}"
            record(connection, now, who, Verb.CORRECT, job_id=made, found=found, made=f"version {version}")
            return Redone(job_id, made, path_of(row.path_raw), from_tokens=True, version=version)

    def corrected(self) -> list[int]:
        """See `Ledger.corrected_jobs`."""
        with self._db.read("list corrected jobs") as connection:
            return list(connection.scalars(_CORRECTED, {"action": Verb.CORRECT.value}))

    def with_corrections(self) -> frozenset[int]:
        """See `Ledger.jobs_with_corrections`."""
        with self._db.read("list jobs with corrections") as connection:
            return frozenset(connection.scalars(_WITH_CORRECTIONS, {"action": Verb.CORRECT.value}))

    def name_speaker(self, job_id: int, number: int, name: str | None) -> bool:
        """See `Ledger.name_speaker`."""
        with self._db.write("name a speaker") as connection:
            values = {"id": job_id, "number": number, "name": None if name is None else storable(name)}
            return connection.execute(_NAME, values).rowcount > 0


def _again(connection: Connection, one: Redo, now: float) -> Redone:
    row: Any = connection.execute(_JOB, {"id": one.job_id}).one_or_none()
    reason = _refusal(row)
    if reason:
        return Redone(one.job_id, recording=None if row is None else path_of(row.path_raw), reason=reason)
    recipe = storable(one.recipe)
    origin = row.origin if row.recipe == recipe and not one.recognise else None
    # With a reference the result is known; one recognised on request must not take that of another recording.
    shared = one.share_result and origin is None and not one.recognise
    values = _values(row, storable(one.profile), recipe, one.max_attempts, now) | {
        "identity": identity_of(str(row.sha256), recipe) if shared else None,
        "reference_job_id": origin,
        "supersedes_id": None if one.keep_old else row.id,
    }
    made = connection.execute(sa.insert(jobs).returning(jobs.c.id), values).scalar_one()
    return Redone(
        one.job_id,
        int(made),
        path_of(row.path_raw),
        from_tokens=origin is not None,
        version=int(values["version"]),
    )


def _refusal(row: Any) -> str:
    """Why no new version can be made of a job, a row of `_JOB`; "" if one can."""
    if row is None:
        return "there is no such job"
    if not row.latest:
        return "the recording has other content by now"
    if row.departure == "deleted":
        return "the recording was deleted after it was transcribed"
    if row.departure is not None:
        return f"the recording was moved to {readable(path_of(row.departed_raw))}; move it back"
    if row.unfinished is not None:
        return f"job {row.unfinished} of the recording is not finished yet"
    return ""


def _values(row: Any, profile: str, recipe: str, max_attempts: int, now: float) -> dict[str, Any]:
    """Columns of the next version of the recording of a job, a row of `_JOB`."""
    return {
        "recording_id": row.recording_id, "profile": profile, "recipe": recipe, "identity": None,
        "state": JobState.QUEUED.value, "attempts": 0, "max_attempts": max_attempts, "generation": 0,
        "not_before": 0.0, "isolate": 0, "settle_s": 0.0, "admitted_at": now,
        "folder_raw": row.folder_raw, "priority": row.priority, "priority_given": row.priority_given,
        "version": int(row.version) + 1,
    }  # fmt: skip
