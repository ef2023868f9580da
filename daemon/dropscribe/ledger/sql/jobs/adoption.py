"""Record jobs that were finished before this database was made, from the transcripts they left."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.escapes import readable
from dropscribe.ledger.columns import Places, raw, signed, storable
from dropscribe.ledger.records import Admission, Finish, JobState, OutputIntent, PastJob
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.admission import identity
from dropscribe.ledger.sql.jobs.results import job_row, segment_row, speaker_row
from dropscribe.ledger.sql.jobs.transitions import transition
from dropscribe.ledger.sql.schema import (
    attempts,
    job_speakers,
    jobs,
    outputs,
    recordings,
    segments,
    stage_timings,
)

#: `attempts.worker` of an adopted job, and `jobs.reason_code` of a queued job that it made needless.
ADOPTED = "adopted"

_LATEST = sql("SELECT id, sha256 FROM recordings WHERE path_raw = :path_raw AND latest = 1")
_DONE = sql("SELECT id FROM jobs WHERE recording_id = :recording AND state = 'done' ORDER BY id DESC LIMIT 1")
_TAKEN = sql("SELECT 1 FROM jobs WHERE id = :id")
_SAME = sql(
    "SELECT j.id FROM jobs j WHERE j.identity = :identity AND j.state = 'done' AND j.reference_job_id IS NULL "
    "AND j.characters = :characters AND j.media = :media ORDER BY j.id DESC LIMIT 1"
)
_NEEDLESS = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL WHERE {legal} AND recording_id IN "
        "(SELECT id FROM recordings WHERE path_raw = :path_raw) RETURNING id",
    )
)
_CLOSE_ATTEMPT = sql(
    "UPDATE attempts SET ended_at = :now, outcome = 'cancelled', code = :code, reason = :reason "
    "WHERE job_id = :id AND outcome IS NULL"
)


class Adoption:
    """Adoption of finished jobs, on a database that no daemon works on."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def on_record(self, admission: Admission) -> bool:
        """True if this admission is recorded already (see `Ledger.on_record`)."""
        with self._db.read("query a recording") as connection:
            return _is_done(connection, admission)

    def adopt(self, past: Sequence[PastJob], now: float) -> int:
        """See `Ledger.adopt_finished`."""
        with self._db.write("adopt finished jobs") as connection:
            return sum(self._adopt(connection, one, now) for one in past)

    def _adopt(self, connection: Connection, past: PastJob, now: float) -> bool:
        if _is_done(connection, past.admission):
            return False
        recording = _recording(connection, past.admission, self._db.places, now)
        why = {"now": now, "code": ADOPTED, "reason": "its transcript was adopted"}
        for job in connection.scalars(_NEEDLESS, why | {"path_raw": raw(past.admission.path)}).all():
            connection.execute(_CLOSE_ATTEMPT, why | {"id": job})
        job = _insert_job(connection, past, recording)
        row = {
            "job_id": job, "generation": 1, "number": 1, "worker": ADOPTED, "started_at": past.started,
            "ended_at": past.ended, "outcome": "done",
        }  # fmt: skip
        connection.execute(sa.insert(attempts), row)
        seconds = dict(past.transcript.timings.seconds)
        if seconds:
            rows = [{"job_id": job, "attempt": 1, "stage": s, "seconds": n} for s, n in seconds.items()]
            connection.execute(sa.insert(stage_timings), rows)
        if past.files:
            connection.execute(sa.insert(outputs), [_output(job, past, file) for file in past.files])
        return True


def _is_done(connection: Connection, admission: Admission) -> bool:
    latest = connection.execute(_LATEST, {"path_raw": raw(admission.path)}).one_or_none()
    if latest is None or latest.sha256 != admission.sha256:
        return False
    return connection.execute(_DONE, {"recording": latest.id}).first() is not None


def _recording(connection: Connection, admission: Admission, places: Places, now: float) -> int:
    """The row of this content at this path, inserted when there is none."""
    latest = connection.execute(_LATEST, {"path_raw": raw(admission.path)}).one_or_none()
    values = {
        "size": admission.size,
        "mtime_ns": signed(admission.mtime_ns),
        "inode": signed(admission.inode),
    }
    if latest is not None:
        change = values if latest.sha256 == admission.sha256 else {"latest": 0}
        connection.execute(sa.update(recordings).where(recordings.c.id == latest.id).values(change))
        if latest.sha256 == admission.sha256:
            return int(latest.id)
    made = connection.execute(
        sa.insert(recordings).returning(recordings.c.id),
        values | {
            "path_raw": raw(admission.path), "path": readable(admission.path),
            "folder_raw": raw(admission.folder), "folder": places.label(admission.folder),
            "sha256": admission.sha256, "admitted_at": now, "latest": 1,
        },
    )  # fmt: skip
    return int(made.scalar_one())


def _insert_job(connection: Connection, past: PastJob, recording: int) -> int:
    admission, transcript = past.admission, past.transcript
    result = job_row(
        Finish(0, 1, transcript.media, transcript.engine, transcript.timings, transcript.segments),
        None,
        past.ended,
    )
    del result["now"], result["reference"], result["id"]
    shared = identity(admission) if past.shared else None
    reference = None
    if shared is not None:
        same = {"identity": shared, "characters": result["characters"], "media": result["media"]}
        reference = connection.scalar(_SAME, same)
    number = transcript.job_id
    free = number > 0 and connection.execute(_TAKEN, {"id": number}).first() is None
    made = connection.execute(
        sa.insert(jobs).returning(jobs.c.id),
        result | ({"id": number} if free else {}) | {
            "recording_id": recording, "profile": storable(admission.profile), "recipe": storable(admission.recipe),
            "identity": shared, "state": JobState.DONE.value, "attempts": 1, "max_attempts": admission.max_attempts,
            "not_before": 0.0, "isolate": 0, "settle_s": transcript.timings.of("settling"), "admitted_at": transcript.created_at,
            "claimed_at": past.started, "finished_at": past.ended, "reference_job_id": reference,
            "folder_raw": raw(admission.folder),
        },
    )  # fmt: skip
    job = int(made.scalar_one())
    if reference is None and transcript.segments:
        connection.execute(sa.insert(segments), [segment_row(job, s) for s in transcript.segments])
    if reference is None and transcript.speakers:
        connection.execute(sa.insert(job_speakers), [speaker_row(job, s) for s in transcript.speakers])
    return job


def _output(job: int, past: PastJob, file: OutputIntent) -> dict[str, object]:
    return {
        "job_id": job, "generation": 1, "recording_raw": raw(past.admission.path), "format": file.format,
        "path_raw": raw(file.path), "path": readable(file.path), "sha256": file.sha256, "published": 1,
        "at": past.ended,
    }  # fmt: skip
