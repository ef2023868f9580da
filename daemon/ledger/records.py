"""What the ledger hands out: frozen records. Instants are epoch seconds (UTC), durations seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from daemon.transcript.types import EngineFacts, MediaFacts, Segment, Timings


class JobState(StrEnum):
    """Where a job stands. `DONE`, `FAILED` and `CANCELLED` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


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
    attempt: int  #: 1 for the first
    max_attempts: int
    path: Path
    folder: Path
    size: int
    mtime_ns: int
    inode: int
    sha256: str
    profile: str
    recipe: str
    admitted_at: float
    settle_s: float
    waited_s: float  #: since it became claimable
    #: A finished job of the same content, profile and recipe whose result serves for this one.
    reference: int | None
    #: It was in flight when the engine died: work on it alone.
    isolate: bool


@dataclass(frozen=True, slots=True)
class OutputIntent:
    """A file we are about to write: recorded before it is written, so that it can be known as ours later."""

    format: str  #: "txt", "srt", "vtt", "json", "timing"
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class OwnedOutput:
    """A file some job wrote or meant to write."""

    job_id: int
    recording: Path
    path: Path
    format: str
    sha256: str
    published: bool


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
class StoredResult:
    """A finished job's result as the ledger keeps it: enough to render every format again."""

    job_id: int
    media: MediaFacts
    engine: EngineFacts
    timings: Timings
    segments: tuple[Segment, ...]
