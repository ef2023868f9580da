"""The line of the log on a job that is done."""

from __future__ import annotations

from dropscribe import durations, logs
from dropscribe.columns import columns, shortened
from dropscribe.escapes import readable
from dropscribe.service.jobs.progress import MESSAGE_COLUMNS, NAME_COLUMNS
from dropscribe.service.publishing.output_plan import OutputPlan
from dropscribe.transcript.packed_segments import characters_of
from dropscribe.transcript.remarks import media_remarks
from dropscribe.transcript.timing import TIMING
from dropscribe.transcript.types import Timings


def _message(one: OutputPlan, done: str) -> str:
    """Recording, what was done, and the transcript, of several formats the first: one line of a terminal."""
    name = one.transcript.recording_name
    first = next((name for format_name, name in one.names.items() if format_name != TIMING), None)
    if first is None:
        return f"{shortened(name, NAME_COLUMNS)}: {done}"
    written, stem = readable(first), readable(one.claim.path.stem)
    if one.directory != one.claim.path.parent:
        written = shortened(f"{readable(one.directory)}/{written}", NAME_COLUMNS)
    elif columns(f"{name}: {done} → {written}") > MESSAGE_COLUMNS and written.startswith(stem):
        written = f"…{written.removeprefix(stem)}"
    room = MESSAGE_COLUMNS - columns(f": {done} → {written}")
    return f"{shortened(name, max(room, NAME_COLUMNS // 2))}: {done} → {written}"


def log_done(log: logs.Logger, one: OutputPlan, timings: Timings, ended: float) -> None:
    """Log a finished job in one line, with all its facts as fields."""
    media = one.transcript.media
    audio_s = media.duration_ms / 1000
    done = (
        f"{durations.length(audio_s)}, same as job {one.reference}"
        if one.reference
        else durations.work_done(audio_s, ended - one.started)
    )
    said = [remark.text for remark in media_remarks(media)]
    logs.event(
        log,
        logs.Action.JOB_DONE,
        _message(one, done) + "".join(f"; {text}" for text in said),
        job=one.claim.job_id,
        path=one.transcript.recording_name,
        attempt=one.claim.attempt,
        audio_s=audio_s,
        speech_s=timings.speech_ms / 1000,
        wall_s=round(timings.wall_s, 3),
        segments=len(one.transcript.segments),
        characters=characters_of(one.transcript.segments),
        truncated=media.truncated,
        remarks=said,
        reference=one.reference,
        **{f"{stage}_s": round(seconds, 4) for stage, seconds in timings.seconds},
    )
