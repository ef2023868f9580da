"""The job history as commands show it: where it is, and its records as JSON documents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.cli.output import readable, utc

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.records import Hit, JobDetail, JobSummary, SkipSummary
    from dropscribe.transcript.types import MediaFacts, Timings


def database_location(config: Path | None, database: Path | None) -> DatabaseLocation:
    """The database named, else that of the configuration in force, else ./jobs.db. Raises ConfigError."""
    from dropscribe.cli.settings import in_force
    from dropscribe.ledger.interface import DatabaseLocation

    named = in_force(config=config).settings.database if database is None else database
    return DatabaseLocation(named.absolute())


def job_document(job: JobSummary) -> dict[str, Any]:
    """One job: id, state, recording, folder, profile, admitted/claimed/finished (ISO 8601 UTC or null), attempts,
    max_attempts, audio_s, speech_s, characters, total_s, rtfx, model, device, truncated, reason_code, reason,
    remedy, reference (each null where there is nothing to say). `attempts` counts tries from when decoding begins; neither a claim
    counts nor a try that was cut off by a kill or given back.
    """
    return {
        "id": job.id,
        "state": job.state.value,
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
        "total_s": _rounded(job.total_s),
        "rtfx": _rounded(job.rtfx),
        "model": job.model,
        "device": job.device,
        "truncated": job.truncated,
        "reason_code": job.reason_code,
        "reason": job.reason,
        "remedy": job.remedy,
        "reference": job.reference,
    }


def detail_document(detail: JobDetail) -> dict[str, Any]:
    """All of one job: the fields of `job_document`, and recipe, sha256, size (bytes), modified, isolate,
    tries [{number, worker, started, ended, outcome, code, reason, times}], outputs [{format, path, sha256, published}],
    stages {stage: seconds}, batches {sizes, padding_waste}, media, engine (as in the transcript), text, segments
    [{index, start_ms, end_ms, text}]. From `stages` on they are null until the job is done.
    """
    from dropscribe.transcript.render import engine_facts

    result = detail.result
    return {
        **job_document(detail.summary),
        "recipe": detail.recipe,
        "sha256": detail.sha256,
        "size": detail.size,
        "modified": utc(detail.mtime_ns / 1e9),
        "isolate": detail.isolate,
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
        "media": None if result is None else _media(result.media),
        "engine": None if result is None else engine_facts(result.engine) | {"notice": result.engine.notice},
        "text": None if result is None else text_of(detail),
        "segments": None
        if result is None
        else [
            {"index": s.index, "start_ms": s.start_ms, "end_ms": s.end_ms, "text": s.text}
            for s in result.segments
        ],
    }


def hit_document(hit: Hit) -> dict[str, Any]:
    """A place where a text was found: job, recording, finished, segment (index), start_ms, end_ms, snippet,
    match [first, last) in the snippet, or null where that is not known.
    """
    first, last = hit.match
    return {
        "job": hit.job_id,
        "recording": readable(hit.recording),
        "finished": utc(hit.finished_at),
        "segment": hit.segment,
        "start_ms": hit.start_ms,
        "end_ms": hit.end_ms,
        "snippet": hit.snippet,
        "match": [first, last] if last > first else None,
    }


def skip_document(skip: SkipSummary) -> dict[str, Any]:
    """A file that was not taken: path, folder, code, reason, first_seen, last_seen (ISO 8601 UTC)."""
    return {
        "path": readable(skip.path),
        "folder": skip.folder,
        "code": skip.code,
        "reason": skip.reason,
        "first_seen": utc(skip.first_seen),
        "last_seen": utc(skip.last_seen),
    }


def text_of(detail: JobDetail) -> str:
    """The transcript of a finished job, a segment a line; "" for any other."""
    return "" if detail.result is None else "\n".join(s.text for s in detail.result.segments if s.text)


def brief(path: Path) -> str:
    """A path as it is most easily read: from the working directory if it is below it."""
    here = Path(os.curdir).absolute()
    return readable(path.relative_to(here) if path.is_relative_to(here) else path)


def _stages(timings: Timings) -> dict[str, float]:
    return {stage: round(seconds, 6) for stage, seconds in timings.seconds}


def _media(media: MediaFacts) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(media) | {"warnings": list(media.warnings)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
