"""What is kept after a job is done, and for how long: records and methods of the ledger. Instants are epoch seconds (UTC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from dropscribe.files import FileSignature
from dropscribe.ledger.records import JobState, OwnedOutput


class FinishedRecording(NamedTuple):
    """A job that is done, and what is left of it. A tuple, because there may be a million."""

    job_id: int
    recording_id: int
    path: Path
    folder: Path
    profile: str
    signature: FileSignature
    sha256: str
    finished_at: float
    newest: bool  #: it is the newest job of the content that the path has now
    text: bool  #: its words are on record
    logs: bool  #: its stages and attempts are on record
    files: bool  #: its files were not removed by dropscribe
    recording: bool  #: its recording was not moved or deleted by dropscribe, nor purged


@dataclass(frozen=True, slots=True)
class Departure:
    """A recording that is being moved to `target`, or deleted if that is None: an intent on record."""

    recording_id: int
    job_id: int
    path: Path
    folder: Path
    profile: str
    signature: FileSignature
    sha256: str
    target: Path | None


@dataclass(frozen=True, slots=True)
class RenameCandidate:
    """A recording on record with the content, size and time of a new file: it was renamed if it is no longer at `path`."""

    recording_id: int
    path: Path
    folder: Path
    inode: int


@dataclass(frozen=True, slots=True)
class NamedOutput:
    """A file on record, with the number of its row."""

    row: int
    file: OwnedOutput


@dataclass(frozen=True, slots=True)
class Following:
    """Transcripts that are named after `old` and are to be named after `recording`.

    `departed`: dropscribe moved the recording out of its folder.
    """

    recording_id: int
    old: Path
    recording: Path
    folder: Path
    profile: str
    departed: bool
    outputs: tuple[NamedOutput, ...]


@dataclass(frozen=True, slots=True)
class PurgedJob:
    """A job of a recording that is to be purged."""

    job_id: int
    state: JobState
    segments: int


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """All that is on record of one content at one path."""

    recording_id: int
    path: Path
    folder: Path
    sha256: str
    departure: str | None
    departed: Path | None
    jobs: tuple[PurgedJob, ...]
    files: tuple[OwnedOutput, ...]


class Keeping(Protocol):
    """Retention, renamed recordings, purging. Thread-safe; every method is one transaction, and raises as `Ledger` does."""

    def instant(self, now: float) -> float:
        """The instant by the clock that the ends of jobs are by, where the clock of this host has `now`."""

    def finished(self, after: tuple[float, int], until: float, limit: int) -> list[FinishedRecording]:
        """Up to `limit` done jobs in order of (finished_at, job), behind `after`, finished at `until` (see `instant`) or before."""

    def remove_text(
        self, jobs: Sequence[int], now: float, *, finished_before: Mapping[str, float], most: int
    ) -> list[int]:
        """Remove the words and speakers of done jobs, at most `most` segments; returns the jobs that need no further call.

        `finished_before`: by profile, an instant (see `instant`) before all jobs for one that keeps its text; that of "default" is also
        that of profiles that are not in it. A result that is also that of other jobs stays until all of these were finished
        before the instants of their own profiles. From the first call on no other job uses the result.
        """

    def remove_logs(self, jobs: Sequence[int], now: float) -> None:
        """Remove stages and attempts of done jobs."""

    def files_removed(self, jobs: Sequence[int], now: float) -> None:
        """Record that the files of these jobs were removed."""

    def depart(self, job: int, target: Path | None, now: float) -> Departure | None:
        """Record that the recording of a job is about to be moved to `target`, or deleted; None if it must stay.

        It stays unless the job is done and the newest of its recording, nothing of it was purged, and the path has that
        content on record.
        """

    def departed(self, recording: int, now: float, *, outputs_follow: bool) -> None:
        """Record that a recording was moved or deleted as intended. `outputs_follow`: its files are to follow it."""

    def stayed(self, recording: int) -> None:
        """Remove an intent: the recording is where it was, or is not there any more."""

    def departures(self) -> list[Departure]:
        """Intents on record: of a daemon that was killed, or under way."""

    def on_record(self, contents: Sequence[tuple[FileSignature, str]]) -> list[bool]:
        """Whether there is a recording of each size, time and content (SHA-256), at any path: only then `rename_candidates` has any."""

    def rename_candidates(self, path: Path, signature: FileSignature, sha256: str) -> list[RenameCandidate]:
        """Recordings at other paths with this content, size and time, those of the same inode first."""

    def following(self, limit: int) -> list[Following]:
        """Recordings whose files are to follow them."""

    def followed(self, one: Following, moved: Sequence[tuple[int, Path]], *, complete: bool) -> None:
        """Record new paths of files, by row. `complete`: no further ones are to follow, unless the recording was renamed again."""

    def purge_plans(self, job: int) -> list[PurgePlan]:
        """The recording of a job, first, and other recordings with the same content; () if there is no such job."""

    def purge(self, recordings: Sequence[int], now: float) -> None:
        """Remove all but the fact that these recordings were there, and overwrite what is removed; in short transactions.

        Unfinished jobs of them are cancelled. After an error it may be called again.
        """

    def shrink_log(self) -> bool:
        """Move the log into the database and cut it; False if a reader prevents it."""

    def merge_search(self, pages: int) -> bool:
        """Rewrite a part of the search index, so that removed words leave it; False once there is nothing left to do."""

    def record_backup(self, path: Path, now: float) -> None:
        """Record that a backup was made."""

    def backups(self) -> list[tuple[Path, float]]:
        """Backups on record, oldest first, with the time they were made."""

    def forget_backups(self, paths: Sequence[Path]) -> None:
        """Remove backups from the record that are not there any more."""
