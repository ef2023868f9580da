"""Records that the ledger takes and returns. Instants are epoch seconds (UTC), durations seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from dropscribe.files import FileSignature
from dropscribe.ledger.columns import SegmentRows, storable
from dropscribe.transcript.types import EngineFacts, MediaFacts, Segment, Speaker, Timings, Transcript

#: Reason code of queued jobs that wait because their folder is away.
AWAY = "folder_away"
#: Reason code of queued jobs that wait for free space on the disk of their transcripts.
NO_ROOM = "no_room"
#: Reason code of queued jobs that wait for a file system that does not answer.
HANGS = "unanswered"
#: Reason code of queued jobs that wait until the daemon may write into the folder of their transcripts.
UNWRITABLE = "unwritable"
#: Reason code of queued jobs that wait until a model of their profile can be loaded.
MODEL = "model_unusable"
#: Reason codes of queued jobs that are held: they wait for something outside that a person may have to change.
HELD = (AWAY, NO_ROOM, HANGS, UNWRITABLE, MODEL, "storage")
#: Reason code of done jobs that wrote a transcript of their recording again without recognising it: after a correction, with
#: another name of a speaker, or from stored text. Totals do not count them as further recordings.
REWRITTEN = "rewritten"
#: Length of a hold, seconds. It is renewed after half of it, and ends by itself when the daemon that set it was killed.
HOLD_S = 600.0
#: The `format` of partial texts among the recorded files.
PARTIAL = "partial"
#: The `format` of notes beside recordings of failed and held jobs. Like partial texts they are none of a job's outputs.
FAILED_NOTE = "failed"


class JobState(StrEnum):
    """State of a job. `DONE`, `FAILED` and `CANCELLED` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Killed(StrEnum):
    """Whether other recordings were being processed when a daemon or decoder was killed.

    See `daemon/dropscribe/ledger/lone_trials.py`.
    """

    ALONE = "alone"
    AMONG_OTHERS = "among others"


@dataclass(frozen=True, slots=True)
class Admission:
    """A complete file to be admitted. `recipe` names the model and the options that shape the text."""

    path: Path
    folder: Path
    size: int
    mtime_ns: int
    inode: int
    sha256: str
    profile: str
    recipe: str
    #: False: the content is transcribed even when there is a result of the same content.
    share_result: bool
    settle_s: float
    max_attempts: int
    #: That of its folder; see `jobs.priority`.
    priority: int = 0
    #: Number on record of the recording that was renamed to this path, if it was (`Keeping.rename_candidates`).
    renamed_from: int | None = None


class KnownRecording(NamedTuple):
    """A recorded file that needs no admission while it has these `stat` values. A tuple, because there may be a million."""

    path: str  #: as `os.fsdecode` gives it
    size: int
    mtime_ns: int
    inode: int
    unfinished: bool  #: it has a queued or running job


@dataclass(frozen=True, slots=True)
class Admitted:
    """Result of an admission: its job, and whether this call created it.

    `renamed`: the recording kept what is on record of it, and its files are to follow.
    """

    job_id: int
    created: bool
    renamed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A job leased to a worker, which passes `generation` in every later call about it."""

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
    waited_s: float  #: since the job became claimable
    #: A job of the same content and recipe whose result is used for this one; `job_id` when this job has its own result,
    #: which is not published yet.
    reference: int | None
    #: The job is to be tried alone, because engine, daemon or decoder died during an earlier attempt.
    isolate: bool
    #: Number of deaths of daemon or decoder while it was tried alone.
    lone_deaths: int = 0
    #: Another recording was finished since the first of these deaths.
    others_done: bool = False
    #: Number of failed publications of the result.
    unpublished: int = 0
    #: Version in the names of its files (NAME.v2.txt); 1: they have none, and take the place of those of earlier versions.
    named_version: int = 1
    #: `reference` was chosen when the job was made: its result is used whatever recipe is in force.
    result_given: bool = False

    def is_under(self, recipe: str) -> bool:
        """True when `recipe` is the one that this job is to be done with."""
        return self.recipe == storable(recipe)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Numbers of interrupted claims of an earlier daemon, by outcome."""

    #: Decoding had not begun: queued, as if never claimed.
    unbegun: int
    #: Decoding had begun: queued, to be tried alone.
    suspects: int
    #: Failed after too many deaths while tried alone.
    failed: int


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """The newest job of a recording, which is done or failed."""

    job_id: int
    path: Path
    folder: Path
    profile: str
    recipe: str
    state: JobState


@dataclass(frozen=True, slots=True)
class Redo:
    """A job that is to be done again."""

    job_id: int
    profile: str
    recipe: str
    #: The result may be used for other recordings of the same content, and theirs for this one.
    share_result: bool
    max_attempts: int
    #: The new files stand beside those of the job, as NAME.v2.txt, instead of taking their place.
    keep_old: bool = False
    #: The audio is recognised again even where the stored tokens would do.
    recognise: bool = False


@dataclass(frozen=True, slots=True)
class Redone:
    """Answer to a `Redo`: the new job, or the reason why there is none."""

    job_id: int  #: of the job that was to be done again
    new_job_id: int | None = None
    recording: Path | None = None
    #: The files are written from the stored tokens; neither recording nor engine is needed.
    from_tokens: bool = False
    version: int = 1
    reason: str = ""


class OutputIntent(NamedTuple):
    """A file about to be written. It is recorded before, so that it can be recognised as ours later."""

    format: str  #: "txt", "srt", "vtt", "json", "timing"
    path: Path | str
    sha256: str
    #: SHA-256 (hex) of the file that is at the path now, "" when there is none, None when unknown.
    standing: str | None = None
    size: int | None = None  #: bytes


@dataclass(frozen=True, slots=True)
class OwnedOutput:
    """A file recorded for a job, written or not. `size` in bytes; None when an earlier version recorded it."""

    job_id: int
    recording: Path
    path: Path
    format: str
    sha256: str
    published: bool
    size: int | None = None


@dataclass(frozen=True, slots=True)
class NotedRecording:
    """The newest job of a recording, and the notes that are on record for it, newest first."""

    path: Path
    folder: Path
    profile: str
    job_id: int
    generation: int
    state: JobState
    reason_code: str | None
    reason: str
    remedy: str
    notes: tuple[OwnedOutput, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The result of a job whose files are published."""

    job_id: int
    generation: int
    media: MediaFacts
    engine: EngineFacts
    timings: Timings
    segments: Sequence[Segment]
    reference: int | None = None
    speakers: tuple[Speaker, ...] = ()
    #: `dropscribe.ledger.columns.segment_rows` of the segments, if another process has made them; None: not made yet.
    segment_rows: SegmentRows | None = None


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that was finished before this database was made, as read from its transcript."""

    admission: Admission  #: of the recording as it is now
    transcript: Transcript
    #: The result may be used for other recordings of the same content.
    shared: bool
    #: Files whose content equals what dropscribe writes.
    files: tuple[OutputIntent, ...]
    started: float  #: epoch seconds; equal to `ended` when unknown
    ended: float


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The stored result of a job: enough to render every format again."""

    job_id: int
    media: MediaFacts
    engine: EngineFacts
    timings: Timings
    segments: Sequence[Segment]
    speakers: tuple[Speaker, ...] = ()


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that was not admitted, and why.

    `at_start`: it may be on record since an earlier run; then its row stays as it is if it says the same.
    """

    path: Path
    folder: Path
    code: str
    reason: str
    at_start: bool = False


@dataclass(frozen=True, slots=True)
class SkipSummary:
    """A file that was not admitted, with the first and last time it was seen."""

    path: Path
    folder: str  #: readable
    code: str
    reason: str
    first_seen: float
    last_seen: float


@dataclass(frozen=True, slots=True)
class EnrolledVoice:
    """A known voice, without its embedding. `model`: the speaker model that made it."""

    name: str
    model: str
    made_at: float


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job in a list."""

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
    #: From first seen to finished; None while unfinished.
    total_s: float | None
    #: Audio seconds per second between claim and finish; None unless done.
    rtfx: float | None
    model: str | None
    device: str | None
    truncated: str | None
    #: Remarks on the file, `transcript.remarks.media_remarks`.
    remarks: tuple[str, ...]
    reason_code: str | None
    reason: str | None
    remedy: str | None
    #: The job whose result is used for this one.
    reference: int | None
    #: 1 for the first transcript of this content at this path; see `Ledger.redo`.
    version: int = 1
    #: The job whose files this one replaces; None also for a version that stands beside the earlier ones.
    supersedes: int | None = None
    #: Jobs with a higher one are claimed first.
    priority: int = 0
    #: Name of the host that has taken it last, "" for one without a name; None if nobody has, or its attempts are removed.
    host: str | None = None

    @property
    def held(self) -> bool:
        """True while it waits for something outside that a person may have to change."""
        return self.state is JobState.QUEUED and self.reason_code in HELD

    @property
    def shown_state(self) -> str:
        """The state in a word for people: that of a queued job that is held is "held"."""
        return "held" if self.held else self.state.value


@dataclass(frozen=True, slots=True)
class HeldJobs:
    """Held jobs with the same reason."""

    code: str
    reason: str
    remedy: str | None
    count: int
    first: int  #: the oldest of them


@dataclass(frozen=True, slots=True)
class HeldFolder:
    """Held jobs of a watched folder with the same reason code; `reason` and `remedy` are those of most of them."""

    folder: Path
    code: str
    reason: str
    remedy: str | None
    count: int


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """What waits and what is in progress."""

    #: Number of queued jobs by reason code; "" for those without one.
    queued: dict[str, int]
    running: int
    #: Of the queued job that was admitted first; None if there is none.
    oldest_admitted_at: float | None


@dataclass(frozen=True, slots=True)
class AttemptSummary:
    """An attempt. `outcome` is None while it is under way."""

    number: int
    generation: int
    worker: str
    started_at: float
    ended_at: float | None
    #: done, failed, released, cancelled, interrupted (the daemon was killed), lost (its lease expired)
    outcome: str | None
    code: str | None
    reason: str | None
    #: Number of consecutive uncounted attempts with the same reason that are kept as this one.
    times: int = 1


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What was removed or moved after a job was done; None: it was not. `purged_at`: all of it, on request.

    `departure`: moving, moved, deleting or deleted; `departed`: where the recording was moved to.
    """

    text_removed_at: float | None = None
    logs_removed_at: float | None = None
    files_removed_at: float | None = None
    purged_at: float | None = None
    departure: str | None = None
    departed: Path | None = None
    departed_at: float | None = None


@dataclass(frozen=True, slots=True)
class JobVersion:
    """A job that made, or is to make, a transcript of a content at a path; see `Ledger.redo`."""

    job_id: int
    version: int
    state: JobState
    supersedes: int | None
    admitted_at: float
    profile: str


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything recorded of one job."""

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
    #: Media, engine, timings and segments once it is recognised (those of `summary.reference` where it has one).
    result: StoredResult | None
    whereabouts: Whereabouts = Whereabouts()
    #: From first seen to admitted.
    settle_s: float = 0.0
    #: All jobs of this content at this path, this one among them, the oldest first.
    versions: tuple[JobVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """A word or phrase of a query in a snippet, characters [first, last), and when it was said, ms."""

    first: int
    last: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A recording with the same content, for which the result was used: its newest job."""

    job_id: int
    recording: Path


@dataclass(frozen=True, slots=True)
class Hit:
    """A segment with the first word or phrase of a query; the others are in it or near it."""

    job_id: int
    recording: Path
    finished_at: float
    segment: int  #: its index in the job
    start_ms: int
    end_ms: int
    snippet: str  #: the matches and the text round them, on one line
    matches: tuple[Match, ...]  #: in order of time; at least one
    copies: tuple[Copy, ...] = ()
    more: bool = False  #: the recording has further places
