"""What may be asked of the history, and the answers. Instants are epoch seconds (UTC), durations seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dropscribe.ledger.records import JobState, JobSummary


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Conditions on jobs; a job must meet all that are given."""

    state: JobState | None = None
    #: Only queued jobs that wait for something outside: see `JobSummary.held`.
    held: bool = False
    #: Recordings below this folder.
    folder: Path | None = None
    profile: str | None = None
    #: Admitted at this instant or later, and before this one.
    since: float | None = None
    until: float | None = None
    #: Name of a speaker of the transcript.
    speaker: str | None = None
    #: Part of the path of the recording; the case of ASCII letters does not matter.
    path: str | None = None
    #: Words and phrases that the transcript contains, as in `Ledger.search`, but however far apart.
    text: str | None = None
    #: Length of the recording: at least, at most.
    shortest_s: float | None = None
    longest_s: float | None = None
    #: The reason code, or a part of the reason.
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Position in a list of jobs by admission: behind this job, which need not exist any more."""

    admitted_at: float
    job_id: int

    def __str__(self) -> str:
        return f"{self.admitted_at!r},{self.job_id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that was written as `text`. Raises ValueError for anything else."""
        admitted_at, _, job_id = text.partition(",")
        return cls(float(admitted_at), int(job_id))


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs of a list in order. `next`: where the list goes on; None at its end."""

    jobs: tuple[JobSummary, ...]
    next: Cursor | None
