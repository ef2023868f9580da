"""Query the history: lists of jobs, one job in full, counts, skipped files."""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.ledger.columns import host_of, mtime_of, path_of
from dropscribe.ledger.questions import Cursor, JobFilter, JobPage
from dropscribe.ledger.records import (
    HELD,
    AttemptSummary,
    HeldFolder,
    HeldJobs,
    JobDetail,
    JobState,
    JobSummary,
    JobVersion,
    SkipSummary,
)
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.history import filters
from dropscribe.ledger.sql.jobs.outputs import of_job
from dropscribe.ledger.sql.jobs.results import load_result, media_of
from dropscribe.ledger.sql.keeping.retention import whereabouts
from dropscribe.transcript.remarks import media_remarks

_SUMMARY = (
    "SELECT j.id, j.state, r.path_raw, r.folder_raw, j.profile, j.admitted_at, j.claimed_at, j.finished_at, "
    "j.attempts, j.max_attempts, j.audio_ms, j.speech_ms, j.characters, j.settle_s, j.model, j.device, "
    "j.truncated, j.media, j.reason_code, j.reason, j.remedy, j.reference_job_id, j.version, j.supersedes_id, j.priority, "
    "j.recipe, r.sha256, r.size, r.mtime_ns, j.not_before, j.claimed_by, j.isolate, {worker} AS worker "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
).replace("{worker}", filters.WORKER)
# In the order in which the ids are given.
_LIST = sql(
    _SUMMARY.replace("FROM jobs j", "FROM @numbered(:ids) i @joined() jobs j ON j.id = i.value")
    + "ORDER BY i.key"
)
_ONE = sql(_SUMMARY + "WHERE j.id = :id")
_ATTEMPTS = sql(
    "SELECT number, generation, worker, started_at, ended_at, outcome, code, reason, times FROM attempts "
    "WHERE job_id = :id ORDER BY generation"
)
_VERSIONS = sql(
    "SELECT id, version, state, supersedes_id, admitted_at, profile FROM jobs "
    "WHERE recording_id = (SELECT recording_id FROM jobs WHERE id = :id) ORDER BY id"
)
# Ended jobs are counted already, and reading all of them takes most of a second for each million.
_COUNTS = sql(
    "SELECT state, sum(jobs) FROM job_totals GROUP BY state UNION ALL "
    "SELECT state, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY state"
)
_HELD = sql(
    "SELECT reason_code, reason, remedy, count(*) AS jobs, min(id) AS first FROM jobs "
    "WHERE state = 'queued' AND reason_code IN :codes GROUP BY reason_code, reason, remedy "
    "ORDER BY count(*) DESC, min(id) LIMIT :limit"
).bindparams(sa.bindparam("codes", value=HELD, expanding=True))
_HELD_FOLDERS = sql(
    "SELECT folder_raw, reason_code, reason, remedy, jobs FROM ("
    "SELECT folder_raw, reason_code, reason, remedy, sum(count(*)) OVER each AS jobs, "
    "row_number() OVER (each ORDER BY count(*) DESC, min(id)) AS place FROM jobs "
    "WHERE state = 'queued' AND reason_code IN :codes GROUP BY folder_raw, reason_code, reason, remedy "
    "WINDOW each AS (PARTITION BY folder_raw, reason_code)"
    ") AS places WHERE place = 1 ORDER BY folder_raw, reason_code"
).bindparams(sa.bindparam("codes", value=HELD, expanding=True))
_SKIPS = sql(
    "SELECT path_raw, folder, code, reason, first_seen, last_seen FROM skips "
    "ORDER BY last_seen DESC, id DESC LIMIT :limit"
)


class History:
    """Queries about jobs and skipped files."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def page(
        self, wanted: JobFilter, limit: int, after: Cursor | None, *, oldest_first: bool = False
    ) -> JobPage:
        """See `Ledger.find_jobs`."""
        with self._db.read("list jobs") as connection:
            found = filters.ids(connection, wanted, after, limit + 1, oldest_first=oldest_first)
            rows = connection.execute(_LIST, {"ids": json.dumps(found[:limit])})
            jobs = tuple(_summary(row) for row in rows)
        more = len(found) > limit and bool(jobs)
        return JobPage(jobs, Cursor(jobs[-1].admitted_at, jobs[-1].id) if more else None)

    def job(self, job_id: int) -> JobDetail | None:
        """See `Ledger.job`."""
        with self._db.read("show a job") as connection:
            row = connection.execute(_ONE, {"id": job_id}).one_or_none()
            return None if row is None else _detail(connection, row)

    def counts(self) -> dict[JobState, int]:
        """See `Ledger.counts`."""
        with self._db.read("count jobs") as connection:
            found = {str(state): int(n) for state, n in connection.execute(_COUNTS)}
        return {state: found.get(state.value, 0) for state in JobState}

    def held(self, limit: int) -> list[HeldJobs]:
        """See `Ledger.held`."""
        with self._db.read("list held jobs") as connection:
            return [
                HeldJobs(r.reason_code, r.reason or "", r.remedy, r.jobs, r.first)
                for r in connection.execute(_HELD, {"limit": limit})
            ]

    def held_folders(self) -> list[HeldFolder]:
        """See `Ledger.held_folders`."""
        with self._db.read("list held folders") as connection:
            return [
                HeldFolder(path_of(r.folder_raw), r.reason_code, r.reason or "", r.remedy, r.jobs)
                for r in connection.execute(_HELD_FOLDERS)
            ]

    def recent_skips(self, limit: int) -> list[SkipSummary]:
        """See `Ledger.recent_skips`."""
        with self._db.read("list skipped files") as connection:
            return [
                SkipSummary(path_of(r.path_raw), r.folder, r.code, r.reason, r.first_seen, r.last_seen)
                for r in connection.execute(_SKIPS, {"limit": limit})
            ]


def _summary(row: Row[tuple[object, ...]]) -> JobSummary:
    total = None if row.finished_at is None else row.finished_at - row.admitted_at + row.settle_s
    wall = (row.finished_at or 0.0) - (row.claimed_at or 0.0)
    done = row.state == JobState.DONE and wall > 0
    return JobSummary(
        id=row.id,
        state=JobState(row.state),
        recording=path_of(row.path_raw),
        folder=path_of(row.folder_raw),
        profile=row.profile,
        admitted_at=row.admitted_at,
        claimed_at=row.claimed_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        audio_s=None if row.audio_ms is None else row.audio_ms / 1000,
        speech_s=None if row.speech_ms is None else row.speech_ms / 1000,
        characters=row.characters,
        total_s=total,
        rtfx=row.audio_ms / 1000 / wall if done else None,
        model=row.model,
        device=row.device,
        truncated=row.truncated,
        remarks=()
        if row.media is None
        else tuple(r.text for r in media_remarks(media_of(row.id, row.media))),
        reason_code=row.reason_code,
        reason=row.reason,
        remedy=row.remedy,
        reference=row.reference_job_id,
        version=row.version,
        supersedes=row.supersedes_id,
        priority=row.priority,
        host=None if row.worker is None else host_of(row.worker),
    )


def _detail(connection: Connection, row: Row[tuple[object, ...]]) -> JobDetail:
    return JobDetail(
        summary=_summary(row),
        recipe=row.recipe,
        sha256=row.sha256,
        size=row.size,
        mtime_ns=mtime_of(row.mtime_ns),
        not_before=row.not_before,
        claimed_by=row.claimed_by,
        isolate=bool(row.isolate),
        attempts=tuple(AttemptSummary(*a) for a in connection.execute(_ATTEMPTS, {"id": row.id})),
        outputs=of_job(connection, row.id),
        result=load_result(connection, row.id),
        whereabouts=whereabouts(connection, row.id),
        settle_s=row.settle_s,
        versions=tuple(
            JobVersion(v.id, v.version, JobState(v.state), v.supersedes_id, v.admitted_at, v.profile)
            for v in connection.execute(_VERSIONS, {"id": row.id})
        ),
    )
