"""Records of what people ask of the queue: pauses, changes of jobs, and their history. Instants are epoch seconds (UTC)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from dropscribe.ledger.records import JobState

#: Bounds of priorities; jobs with a higher one are claimed first.
LEAST_PRIORITY, MOST_PRIORITY = -100, 100


class Verb(StrEnum):
    """What can be asked for."""

    PAUSE = "pause"
    RESUME = "resume"
    DRAIN = "drain"
    RETRY = "retry"
    CANCEL = "cancel"
    PRIORITY = "priority"
    REDO = "redo"
    CORRECT = "correct"
    RENAME_SPEAKER = "rename-speaker"


@dataclass(frozen=True, slots=True)
class Pause:
    """A folder whose jobs are not claimed; None: all folders. `draining`: the daemon ends when nothing is in progress."""

    folder: Path | None
    who: str
    since: float
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Answer to an action on a job: the state found and the state made, with `reason` where nothing was changed."""

    job_id: int
    found: str
    made: str
    recording: Path | None = None
    reason: str = ""
    #: It was changed, though its state may be the same: a priority, the end of a delay.
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """One entry of the history of actions. `job_id` and `folder` None: it was asked of all folders."""

    at: float
    who: str
    verb: str
    job_id: int | None
    folder: str | None  #: readable
    found: str
    made: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs an action is for; the conditions that are given must all be met.

    Of `paths` those are meant that are the recording itself or lie below the folder.
    """

    jobs: Sequence[int] = ()
    paths: Sequence[Path] = ()
    states: frozenset[JobState] = frozenset()
    #: Only jobs that are held; `states` has QUEUED then.
    held: bool = False
    #: Part of the path, without regard to case.
    match: str = ""
    profile: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True, slots=True)
class FolderTerms:
    """Terms of the claims of one folder: `most` jobs in one claim (None: any number), `weight` beside other folders."""

    most: int | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a claim, by watched folder; a folder without an entry has the default ones."""

    of: Mapping[Path, FolderTerms] = field(default_factory=dict)

    def closed(self) -> list[Path]:
        """Folders of which nothing may be claimed."""
        return [folder for folder, terms in self.of.items() if terms.most is not None and terms.most <= 0]

    def without(self, folders: Iterable[Path]) -> Terms:
        """The same, with nothing of these folders."""
        none = {folder: replace(self.of.get(folder, FolderTerms()), most=0) for folder in folders}
        return Terms({**self.of, **none}) if none else self


@dataclass(frozen=True, slots=True)
class FolderBacklog:
    """What is queued in a watched folder. `audio_s`: estimated from sizes, None before anything was transcribed."""

    folder: Path
    recordings: int
    held: int
    audio_s: float | None


#: Every folder is open, and all have the same weight.
NO_TERMS = Terms()
