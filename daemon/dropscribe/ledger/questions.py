"""What may be asked of the history, and the answers. Instants are epoch seconds (UTC), durations seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from dropscribe.ledger.histograms import Durations
from dropscribe.ledger.records import JobState, JobSummary

#: How a folder of another host, or of a shared folder that is not here, begins where it is shown.
_ELSEWHERE = re.compile(r"@[A-Za-z0-9_.-]*:")


def named_folder(given: Path, base: Path) -> Path:
    """The folder that a person names: as statistics show it if it is not of this host, else a path, from `base`."""
    return given if _ELSEWHERE.match(str(given)) else base / given


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
    #: The reason code; if no job has it, a part of the reason.
    reason: str | None = None
    #: Name of the host that has taken it last, or in whose own folder it is; "" for the host without a name.
    host: str | None = None


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


class Part(StrEnum):
    """What totals can be divided by. Days, weeks (by their Monday) and months are UTC, of the end of the jobs."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    FOLDER = "folder"
    PROFILE = "profile"
    MODEL = "model"
    DEVICE = "device"
    #: Reason code.
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class TotalsFilter:
    """Conditions on totals; all that are given are met. Days count from 1970, UTC, of the end of the jobs."""

    first_day: int | None = None
    last_day: int | None = None  #: inclusive
    folder: Path | None = None  #: a watched folder
    profile: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class HourTotals:
    """What ended in an hour, which counts from 1970 (UTC): recordings done and failed, and the audio of the done ones."""

    hour: int
    done: int
    failed: int
    audio_s: float


@dataclass(frozen=True, slots=True)
class JobTotals:
    """Totals of the ended jobs that have the same `key`: a value of each part asked for, "" where it is not known."""

    key: tuple[str, ...]
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    #: Of done jobs.
    audio_s: float = 0.0
    speech_s: float = 0.0
    characters: int = 0
    #: Of done jobs with a result of their own: their audio, and the time from claim to end.
    recognised_s: float = 0.0
    processing_s: float = 0.0
    #: Durations of done jobs by stage.
    stages: Mapping[str, Durations] = field(default_factory=dict)

    @property
    def rtfx(self) -> float | None:
        """Audio seconds per second from claim to end; None if nothing was recognised."""
        return self.recognised_s / self.processing_s if self.processing_s else None

    @property
    def failed_share(self) -> float | None:
        """Failed jobs among those done or failed; None if there are none."""
        ended = self.done + self.failed
        return self.failed / ended if ended else None
