"""Progress of running jobs, for the status file and the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dropscribe import durations, logs
from dropscribe.columns import columns, shortened
from dropscribe.pipeline.attempt import Progress
from dropscribe.transcript.naming import recording_name

#: Interval of progress in the log, and the time after which a job appears there, seconds.
LOG_S = 10.0
#: Width of a message that fits on a terminal beside the time, columns.
MESSAGE_COLUMNS = 71
#: Longest name of a recording in it, columns; the key `path` has all of it.
NAME_COLUMNS = 30
#: Most jobs in the log at a time: those that began first.
LOGGED = 5
#: Difference between declared and decoded duration of a recording that is decoded to its end, milliseconds.
DECODED_MS = 1000


class Stage(StrEnum):
    """What is being done for a running job."""

    WAITING = "waiting"  #: claimed, not begun: no decoder is free
    DECODING = "decoding"  #: nothing is recognised yet
    RECOGNISING = "recognising"  #: or waiting for the engine with everything decoded
    PUBLISHING = "publishing"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Progress of a running job.

    `position_ms`: how far the recording is decoded or recognised, as `stage` says; 0 in the other stages. `duration_ms`:
    as the container declares it, if it does. `elapsed_s`: since decoding began.
    """

    job: int
    recording: Path
    stage: Stage
    position_ms: int = 0
    duration_ms: int | None = None
    elapsed_s: float = 0.0

    @classmethod
    def of(cls, job: int, recording: Path, progress: Progress | None, elapsed_s: float) -> JobProgress:
        """Progress of a job with the executor; `progress` None: its attempt has just ended."""
        if progress is None:
            return cls(job, recording, Stage.RECOGNISING, elapsed_s=elapsed_s)
        recognised, decoded = progress.recognised_ms, progress.decoded_ms
        all_decoded = decoded > 0 and 0 < (progress.declared_ms or 0) <= decoded + DECODED_MS
        begun = recognised or all_decoded
        stage, position = (Stage.RECOGNISING, recognised) if begun else (Stage.DECODING, decoded)
        # A declared duration may be wrong.
        duration = progress.declared_ms if (progress.declared_ms or 0) >= position else None
        return cls(job, recording, stage, position, duration, elapsed_s)


def position_text(stage: str, position_ms: int, duration_ms: int | None, *, short: bool = False) -> str:
    """Stage and position, for people: `recognising 12:40 of 51:11 (24 %)`, or `short`: `recognising 24 %`."""
    if not position_ms:
        return stage
    position = durations.length(position_ms / 1000)
    if not duration_ms:
        return f"{stage} {position}" if short else f"{stage}, {position} so far"
    percent = f"{100 * position_ms // duration_ms} %"
    if short:
        return f"{stage} {percent}"
    return f"{stage} {position} of {durations.length(duration_ms / 1000)} ({percent})"


class ProgressLog:
    """Log the progress of jobs that take long, every `LOG_S`. Owned by the main thread."""

    def __init__(self) -> None:
        self._log = logs.get("service")
        self._next = 0.0

    def tend(self, now: float, running: Callable[[], Iterable[JobProgress]]) -> None:
        """Log what is due at `now` (monotonic seconds)."""
        if now < self._next:
            return
        self._next = now + LOG_S
        longest = sorted((p for p in running() if p.elapsed_s >= LOG_S), key=lambda p: -p.elapsed_s)
        for p in longest[:LOGGED]:
            text = f": {position_text(p.stage, p.position_ms, p.duration_ms)}, {durations.spent(p.elapsed_s)}"
            name = shortened(recording_name(p.recording), MESSAGE_COLUMNS - columns(text))
            logs.event(
                self._log,
                logs.Action.JOB_PROGRESS,
                name + text,
                job=p.job,
                path=str(p.recording),
                stage=str(p.stage),
                position_s=p.position_ms / 1000,
                duration_s=None if p.duration_ms is None else p.duration_ms / 1000,
                elapsed_s=round(p.elapsed_s, 1),
            )
        if len(longest) > LOGGED:
            logs.event(
                self._log,
                logs.Action.JOB_PROGRESS,
                f"{len(longest) - LOGGED} more recordings in progress for {LOG_S:.0f} s or longer",
            )
