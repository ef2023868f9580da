"""The one line of the log that tells the whole of a job that is done."""

from __future__ import annotations

from dropscribe import logs
from dropscribe.service.publishing.output_plan import OutputPlan


def log_done(log: logs.Logger, one: OutputPlan) -> None:
    """Everything a person or a machine wants to know of a finished job, in one line."""
    timings, media = one.transcript.timings, one.transcript.media
    logs.event(
        log,
        logs.Action.JOB_DONE,
        f"{one.transcript.recording_name}: {media.duration_ms / 1000:.1f} s of audio"
        + (f", as job {one.reference}" if one.reference else f" in {timings.wall_s:.2f} s"),
        job=one.claim.job_id,
        path=one.transcript.recording_name,
        attempt=one.claim.attempt,
        audio_s=media.duration_ms / 1000,
        speech_s=timings.speech_ms / 1000,
        wall_s=round(timings.wall_s, 3),
        segments=len(one.transcript.segments),
        characters=sum(len(s.text) for s in one.transcript.segments),
        truncated=media.truncated,
        reference=one.reference,
        **{f"{stage}_s": round(seconds, 4) for stage, seconds in timings.seconds},
    )
