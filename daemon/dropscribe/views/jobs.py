"""Jobs, search results and skipped files as JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dropscribe import durations
from dropscribe.escapes import readable
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import JobState
from dropscribe.service.jobs.progress import position_text
from dropscribe.views.control import actions_document
from dropscribe.views.fields import rounded, utc
from dropscribe.views.timeline import timeline, timeline_document
from dropscribe.views.waiting import FolderWait, waits_for

if TYPE_CHECKING:
    from dropscribe.ledger.control import Action
    from dropscribe.ledger.questions import JobPage
    from dropscribe.ledger.records import Hit, JobDetail, JobSummary, Redone, SkipSummary, Whereabouts
    from dropscribe.transcript.types import Timings

JOBS_SCHEMA = "dropscribe/jobs/1"
JOB_SCHEMA = "dropscribe/job/1"
SEARCH_SCHEMA = "dropscribe/search/1"
SKIPPED_SCHEMA = "dropscribe/skipped/1"
REDO_SCHEMA = "dropscribe/redo/1"


#: Progress of a running job, as the status file has it: `in_progress` in dropscribe/status/1.
Progress = Mapping[str, Any]


def jobs_document(
    database: DatabaseLocation,
    page: JobPage,
    running: Mapping[int, Progress],
    waits: Sequence[FolderWait] = (),
) -> dict[str, Any]:
    """dropscribe/jobs/1: database, jobs (each as `job_document`), next (cursor or null). `running`: progress by job."""
    return {
        "schema": JOBS_SCHEMA,
        "database": database.name,
        "jobs": [job_document(job, running.get(job.id), waits_for(job, waits)) for job in page.jobs],
        "next": None if page.next is None else str(page.next),
    }


def show_document(
    detail: JobDetail,
    progress: Progress | None,
    wait: FolderWait | None = None,
    actions: Sequence[Action] = (),
) -> dict[str, Any]:
    """dropscribe/job/1: job (as `detail_document`, with the `actions` of people on it, versions [{job, version, state, supersedes,
    admitted, profile}], and timeline (as `timeline_document`)).
    """
    more = {
        "actions": actions_document(actions),
        "versions": [
            {
                "job": v.job_id,
                "version": v.version,
                "state": v.state.value,
                "supersedes": v.supersedes,
                "admitted": utc(v.admitted_at),
                "profile": v.profile,
            }
            for v in detail.versions
        ],
        "timeline": timeline_document(timeline(detail, actions)),
    }
    return {"schema": JOB_SCHEMA, "job": detail_document(detail, progress, wait) | more}


def search_document(query: str, hits: Sequence[Hit]) -> dict[str, Any]:
    """dropscribe/search/1: query, hits (each as `hit_document`)."""
    return {"schema": SEARCH_SCHEMA, "query": query, "hits": [hit_document(hit) for hit in hits]}


def skipped_document(database: DatabaseLocation, skips: Sequence[SkipSummary]) -> dict[str, Any]:
    """dropscribe/skipped/1: database, skipped (each as `skip_document`)."""
    return {
        "schema": SKIPPED_SCHEMA,
        "database": database.name,
        "skipped": [skip_document(skip) for skip in skips],
    }


def redo_document(
    database: DatabaseLocation, redone: Sequence[Redone], *, dry_run: bool, total: int, refused: int
) -> dict[str, Any]:
    """dropscribe/redo/1: database, dry_run, total, refused, jobs [{job, recording, new_job, version, from_tokens, reason}]."""
    return {
        "schema": REDO_SCHEMA,
        "database": database.name,
        "dry_run": dry_run,
        "total": total,
        "refused": refused,
        "jobs": [
            {
                "job": one.job_id,
                "recording": None if one.recording is None else readable(one.recording),
                "new_job": one.new_job_id,
                "version": None if one.reason else one.version,
                "from_tokens": one.from_tokens,
                "reason": one.reason or None,
            }
            for one in redone
        ],
    }


def job_document(
    job: JobSummary, progress: Progress | None = None, wait: FolderWait | None = None
) -> dict[str, Any]:
    """One job: id, state, held, recording, folder, profile, admitted/claimed/finished (ISO 8601 UTC or null), attempts,
    max_attempts, audio_s, speech_s, characters, total_s, rtfx, model, device, truncated, remarks, reason_code, reason,
    remedy, reference, version, supersedes, priority, host, waits_for {folder, code, reason, until}, progress {stage, position_ms, duration_ms, elapsed_s} (each null if it does not apply). `attempts` counts attempts from the beginning of decoding;
    claims, interrupted attempts and refunded ones are not counted.
    """
    return {
        "id": job.id,
        "state": job.state.value,
        "held": job.held,
        "recording": readable(job.recording),
        "folder": readable(job.folder),
        "profile": job.profile,
        "admitted": utc(job.admitted_at),
        "claimed": utc(job.claimed_at),
        "finished": utc(job.finished_at),
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "audio_s": job.audio_s,
        "speech_s": job.speech_s,
        "characters": job.characters,
        "total_s": rounded(job.total_s),
        "rtfx": rounded(job.rtfx),
        "model": job.model,
        "device": job.device,
        "truncated": job.truncated,
        "remarks": list(job.remarks),
        "reason_code": job.reason_code,
        "reason": job.reason,
        "remedy": job.remedy,
        "reference": job.reference,
        "version": job.version,
        "supersedes": job.supersedes,
        "priority": job.priority,
        "host": job.host,
        "waits_for": None if wait is None else wait.document(),
        "progress": None
        if progress is None or job.state is not JobState.RUNNING
        else {key: progress[key] for key in ("stage", "position_ms", "duration_ms", "elapsed_s")},
    }


def kept_document(where: Whereabouts) -> dict[str, Any]:
    """What was removed or moved after a job was done; null where it was not."""
    return {
        "text_removed": utc(where.text_removed_at),
        "logs_removed": utc(where.logs_removed_at),
        "files_removed": utc(where.files_removed_at),
        "purged": utc(where.purged_at),
        "departure": where.departure,
        "departed": utc(where.departed_at),
        "departed_to": None if where.departed is None else readable(where.departed),
    }


def detail_document(
    detail: JobDetail, progress: Progress | None = None, wait: FolderWait | None = None
) -> dict[str, Any]:
    """One job in full: the fields of `job_document`, and recipe, sha256, size (bytes), modified, isolate,
    kept {text_removed, logs_removed, files_removed, purged, departure, departed, departed_to}, tries [{number, worker, started, ended, outcome, code, reason, times}], outputs [{format, path, sha256, published}],
    stages {stage: seconds}, batches {sizes, padding_waste}, media, engine (as in the transcript), text, segments
    [{index, start_ms, end_ms, text}]. `stages` and all fields after it are null until the job is done.
    """
    result = detail.result
    return {
        **job_document(detail.summary, progress, wait),
        "recipe": detail.recipe,
        "sha256": detail.sha256,
        "size": detail.size,
        "modified": utc(detail.mtime_ns / 1e9),
        "isolate": detail.isolate,
        "kept": kept_document(detail.whereabouts),
        "tries": [
            {
                "number": a.number,
                "worker": a.worker,
                "started": utc(a.started_at),
                "ended": utc(a.ended_at),
                "outcome": a.outcome,
                "code": a.code,
                "reason": a.reason,
                "times": a.times,
            }
            for a in detail.attempts
        ],
        "outputs": [
            {"format": o.format, "path": readable(o.path), "sha256": o.sha256, "published": o.published}
            for o in detail.outputs
        ],
        "stages": None if result is None else _stages(result.timings),
        "batches": None
        if result is None
        else {"sizes": list(result.timings.batch_sizes), "padding_waste": result.timings.padding_waste},
        "media": None if result is None else result.media.record(),
        "engine": None if result is None else result.engine.told() | {"notice": result.engine.notice},
        "text": None if result is None else text_of(detail),
        "segments": None
        if result is None
        else [
            {"index": s.index, "start_ms": s.start_ms, "end_ms": s.end_ms, "text": s.text}
            for s in result.segments
        ],
    }


def hit_document(hit: Hit) -> dict[str, Any]:
    """One search result: job, recording, finished, segment (index), start_ms, end_ms (of the segment), at_ms (when the
    first match is said), snippet, match (characters [first, last) of the first match in the snippet),
    matches [{first, last, start_ms, end_ms}], copies [{job, recording}] (recordings with the same content), more
    (the recording has further places).
    """
    first = hit.matches[0]
    return {
        "job": hit.job_id,
        "recording": readable(hit.recording),
        "finished": utc(hit.finished_at),
        "segment": hit.segment,
        "start_ms": hit.start_ms,
        "end_ms": hit.end_ms,
        "at_ms": first.start_ms,
        "snippet": hit.snippet,
        "match": [first.first, first.last],
        "matches": [asdict(m) for m in hit.matches],
        "copies": [{"job": c.job_id, "recording": readable(c.recording)} for c in hit.copies],
        "more": hit.more,
    }


def skip_document(skip: SkipSummary) -> dict[str, Any]:
    """One skipped file: path, folder, code, reason, first_seen, last_seen (ISO 8601 UTC)."""
    return {
        "path": readable(skip.path),
        "folder": skip.folder,
        "code": skip.code,
        "reason": skip.reason,
        "first_seen": utc(skip.first_seen),
        "last_seen": utc(skip.last_seen),
    }


def state_since(job: JobSummary) -> float:
    """When the job ended, or was claimed if it is running, or was admitted; epoch seconds."""
    if job.finished_at is not None:
        return job.finished_at
    running = job.claimed_at is not None and job.state.value == "running"
    return job.claimed_at if running and job.claimed_at is not None else job.admitted_at


def progress_text(progress: Progress, *, short: bool = False) -> str:
    """Progress of a job for people: `recognising 12:40 of 51:11 (24 %), 20 s`, or `short`: `recognising 24 %, 20 s`."""
    where = position_text(progress["stage"], progress["position_ms"], progress["duration_ms"], short=short)
    return f"{where}, {durations.spent(progress['elapsed_s'])}" if progress["elapsed_s"] else where


def outcome(job: JobSummary, progress: Progress | None = None, wait: FolderWait | None = None) -> str:
    """Progress of a running job, result and remarks of a finished one, or the reason of any other; "" if none is known.

    `wait`: what it waits for, see `waits_for`.
    """
    # The daemon still states that of a job which has just been cancelled.
    if progress is not None and job.state is JobState.RUNNING:
        return progress_text(progress, short=True)
    if wait is not None:
        return f"waits: {wait.text()}"
    if job.reason:
        return f"{job.reason} ({job.remedy})" if job.remedy else job.reason
    if job.audio_s is None:
        return ""
    if job.reference:
        done = f"{durations.length(job.audio_s)}, same as job {job.reference}"
    else:
        done = durations.work_done(job.audio_s, (job.finished_at or 0.0) - (job.claimed_at or 0.0))
    return "; ".join([done, *job.remarks])


def text_of(detail: JobDetail) -> str:
    """Transcript of a finished job, one line per segment; "" for an unfinished one."""
    return "" if detail.result is None else "\n".join(s.text for s in detail.result.segments if s.text)


def _stages(timings: Timings) -> dict[str, float]:
    return {stage: round(seconds, 6) for stage, seconds in timings.seconds}
