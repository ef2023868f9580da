"""What the ledger hands out: frozen records. Instants are epoch seconds (UTC), durations seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from dropscribe.files import FileSignature
from dropscribe.ledger.sqlite.paths import storable
from dropscribe.transcript.types import EngineFacts, MediaFacts, Segment, Timings, Transcript

#: Reason code of queued jobs that wait because their folder is away.
AWAY = "folder_away"
#: Reason code of queued jobs that wait for free space on the disk of their transcripts.
NO_ROOM = "no_room"
#: Reason code of queued jobs that wait for a file system that does not answer.
HANGS = "unanswered"
#: Length of a hold, seconds. It is renewed after half of it, and ends by itself when the daemon that set it was killed.
HOLD_S = 600.0
#: The `format` of partial texts among the recorded files.
PARTIAL = "partial"


class JobState(StrEnum):
    """Where a job stands. `DONE`, `FAILED` and `CANCELLED` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Killed(StrEnum):
    """How a recording was being worked on when its daemon or decoder was killed; see `daemon/dropscribe/ledger/sqlite/jobs/lone_trials.py`."""

    ALONE = "alone"
    AMONG_OTHERS = "among others"


@dataclass(frozen=True, slots=True)
class Admission:
    """A complete file to be put on record. `recipe` names model and options that shape the text."""

    path: Path
    folder: Path
    size: int
    mtime_ns: int
    inode: int
    sha256: str
    profile: str
    recipe: str
    #: False: the same content is transcribed again instead of being done by reference.
    share_result: bool
    settle_s: float
    max_attempts: int


class KnownRecording(NamedTuple):
    """A recording on record that needs no admission as long as it looks like this. Of these there may be a million."""

    path: str  #: as `os.fsdecode` gives it
    size: int
    mtime_ns: int
    inode: int
    unfinished: bool  #: a job of it is waiting or being worked on


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to an admission: its job, and whether this call made it (False: it was on record already)."""

    job_id: int
    created: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is ours until the lease ends. `generation` must be named in every later call about it."""

    job_id: int
    generation: int
    attempt: int  #: 1 for the first; counted once decoding begins
    max_attempts: int
    path: Path
    folder: Path
    signature: FileSignature
    sha256: str
    profile: str
    recipe: str
    admitted_at: float
    settle_s: float
    waited_s: float  #: since it became claimable
    #: A finished job of the same content, profile and recipe whose result serves for this one.
    reference: int | None
    #: It was being worked on when engine, daemon or decoder died: work on it alone.
    isolate: bool
    #: How often daemon or decoder were killed while it was worked on alone.
    lone_deaths: int = 0
    #: Another recording came through since the first of these deaths.
    others_done: bool = False

    def is_under(self, recipe: str) -> bool:
        """True when `recipe` is the one that this job is to be done with."""
        return self.recipe == storable(recipe)


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many claims of a daemon that is gone were put back."""

    #: Not begun: as if never claimed.
    unbegun: int
    #: Begun: to be tried alone.
    suspects: int
    #: Begun, and failed: one death too many while it was worked on alone.
    failed: int


@dataclass(frozen=True, slots=True)
class OutputIntent:
    """A file we are about to write: recorded before it is written, so that it can be known as ours later."""

    format: str  #: "txt", "srt", "vtt", "json", "timing"
    path: Path
    sha256: str
    #: SHA-256 (hex) of the file that stands at the path now, "" where none does; None where that is not known.
    standing: str | None = None
    size: int | None = None  #: bytes


@dataclass(frozen=True, slots=True)
class OwnedOutput:
    """A file some job wrote or meant to write. `size` in bytes; None where a version before recorded it."""

    job_id: int
    recording: Path
    path: Path
    format: str
    sha256: str
    published: bool
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """A job that is done: everything the history keeps of it."""

    job_id: int
    generation: int
    media: MediaFacts
    engine: EngineFacts
    timings: Timings
    segments: tuple[Segment, ...]
    reference: int | None = None


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that was finished before this database was made, as read from its transcript."""

    admission: Admission  #: of the recording as it is now
    transcript: Transcript
    #: The result may be used for other recordings of the same content.
    shared: bool
    #: Files with exactly the content that we write.
    files: tuple[OutputIntent, ...]
    started: float  #: epoch seconds; equal to `ended` when unknown
    ended: float


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A finished job's result as the ledger keeps it: enough to render every format again."""

    job_id: int
    media: MediaFacts
    engine: EngineFacts
    timings: Timings
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that was not taken, and why, as intake reports it."""

    path: Path
    folder: Path
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class SkipSummary:
    """A file that was not taken, with when that was first and last noticed."""

    path: Path
    folder: str  #: readable
    code: str
    reason: str
    first_seen: float
    last_seen: float


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One job as a list shows it."""

    id: int
    state: JobState
    recording: Path
    folder: Path
    profile: str
    admitted_at: float
    claimed_at: float | None  #: of the newest attempt
    finished_at: float | None
    attempts: int
    max_attempts: int
    audio_s: float | None
    speech_s: float | None
    characters: int | None
    #: From first seen to finished; None while it is not.
    total_s: float | None
    #: Audio seconds per second between claim and finish; None unless done.
    rtfx: float | None
    model: str | None
    device: str | None
    truncated: str | None
    reason_code: str | None
    reason: str | None
    remedy: str | None
    #: The job whose result serves for this one.
    reference: int | None


@dataclass(frozen=True, slots=True)
class AttemptSummary:
    """One try. `outcome` is None while it is under way."""

    number: int
    generation: int
    worker: str
    started_at: float
    ended_at: float | None
    #: done, failed, released, cancelled, interrupted (the daemon was killed), lost (its lease expired)
    outcome: str | None
    code: str | None
    reason: str | None
    #: More than 1: so many tries given back uncounted for the same reason, from the first to the last.
    times: int = 1


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything on record of one job."""

    summary: JobSummary
    recipe: str
    sha256: str
    size: int
    mtime_ns: int
    not_before: float
    claimed_by: str | None
    isolate: bool
    attempts: tuple[AttemptSummary, ...]
    outputs: tuple[OwnedOutput, ...]
    #: Media, engine, timings and segments once it is done (those of `summary.reference` where it has one).
    result: StoredResult | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One segment in which a text was found."""

    job_id: int
    recording: Path
    finished_at: float
    segment: int  #: its index in the job
    start_ms: int
    end_ms: int
    snippet: str  #: the surroundings of the match, on one line
    #: Where in `snippet` the match stands, as [first, last) characters; equal where that is unknown.
    match: tuple[int, int]
