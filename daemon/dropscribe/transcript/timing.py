"""Render the timing log of a job: seconds by stage, batches, engine."""

from __future__ import annotations

from typing import Any

from dropscribe import __version__, escapes
from dropscribe.transcript.instants import iso
from dropscribe.transcript.renderers.content import encode
from dropscribe.transcript.types import STAGES, Transcript

#: Name of the timing log among the formats of a job.
TIMING = "timing"
#: Incremented when a field changes its meaning or is removed, not when one is added.
TIMING_SCHEMA = "dropscribe/timing/1"


def timing_log(transcript: Transcript, *, started: float, ended: float, version: str = __version__) -> bytes:
    """Content of NAME.timing.json, schema `dropscribe/timing/1`: UTF-8, deterministic.

    `started`, `ended`: time of the claim and of publishing, epoch seconds. `version`: of the dropscribe that writes
    the file. Fields: schema, generator, job, recording {name, sha256}, admitted/started/ended (UTC), audio_s,
    speech_s, wall_s (claim → assembled), rtfx (audio_s / wall_s; null when no time passed), stages {every stage:
    seconds}, batches {count, sizes, mean_size, padding_waste (0 is none)}, engine {…, notice, warmup_s}.
    """
    timings, seconds = transcript.timings, dict(transcript.timings.seconds)
    sizes = timings.batch_sizes
    audio_s = transcript.media.duration_ms / 1000
    # As the file has it: what is computed from it must be the same when the file is read.
    wall_s = round(timings.wall_s, 6)
    document: dict[str, Any] = {
        "schema": TIMING_SCHEMA,
        "generator": {"name": "dropscribe", "version": version},
        "job": transcript.job_id,
        "recording": {"name": transcript.recording_name, "sha256": transcript.sha256},
        "admitted": iso(transcript.created_at),
        "started": iso(started),
        "ended": iso(ended),
        "audio_s": audio_s,
        "speech_s": timings.speech_ms / 1000,
        "wall_s": wall_s,
        "rtfx": round(audio_s / wall_s, 2) if wall_s > 0 else None,
        "stages": {stage: round(seconds.get(stage, 0.0), 6) for stage in STAGES},
        "batches": {
            "count": len(sizes),
            "sizes": list(sizes),
            "mean_size": round(sum(sizes) / len(sizes), 2) if sizes else None,
            "padding_waste": round(timings.padding_waste, 4),
        },
        "engine": {
            **transcript.engine.told(),
            "notice": transcript.engine.notice,
            "warmup_s": round(transcript.engine.warmup_s, 3),
        },
    }
    return encode(escapes.dumps(document, indent=2) + "\n")
