"""Interface of the ledger: its location, and the methods of an implementation.

An implementation is chosen in `daemon/dropscribe/ledger/backend.py` and nowhere else. To add one: implement `Ledger`, extend
`DatabaseLocation` and the functions of `backend`, and add the implementation to the fixture of the ledger's tests.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dropscribe.errors import ConfigError, UnusableLedgerError
from dropscribe.escapes import readable
from dropscribe.ledger.columns import Places
from dropscribe.ledger.control import NO_TERMS, Action, Change, FolderBacklog, Pause, Selection, Terms, Verb
from dropscribe.ledger.events import Condition, Event, Subscription
from dropscribe.ledger.keeping import Keeping
from dropscribe.ledger.outbox import Outbox
from dropscribe.ledger.questions import Cursor, HourTotals, JobFilter, JobPage, JobTotals, Part, TotalsFilter
from dropscribe.ledger.records import (
    AWAY,
    Admission,
    Admitted,
    Claim,
    EnrolledVoice,
    Finish,
    FinishedJob,
    HeldFolder,
    HeldJobs,
    Hit,
    JobDetail,
    JobState,
    JobSummary,
    Killed,
    KnownRecording,
    NotedRecording,
    OutputIntent,
    OwnedOutput,
    PastJob,
    QueueNumbers,
    Recovered,
    Redo,
    Redone,
    SkippedFile,
    SkipSummary,
    StoredResult,
)
from dropscribe.transcript.known_voices import KnownVoice
from dropscribe.transcript.types import Segment

#: A URL of PostgreSQL that was a path meanwhile.
_URL = re.compile(r"(?:^|/)postgres(?:ql)?:/+([^/].*)")
_PASSWORD = re.compile(r"^[^/?@]*:[^/?]*@|[?&]password=")
#: Of a database of one host.
NOWHERE_ELSE = Places()


def _state_directory() -> Path:
    """Directory of the files that belong to a database on a server: status, control socket."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    system = Path("/var/lib/dropscribe")
    if system.is_dir():
        return system
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "dropscribe"


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """Where a ledger lies: in a SQLite file, or in a PostgreSQL database, with files that belong to it on this machine."""

    #: The SQLite file; of a PostgreSQL database, what the names of the files that belong to it begin with.
    file: Path
    #: URL of the PostgreSQL database, without a password; "" for a file.
    server: str = ""
    #: Name of this host and its shared folders, in a database that several hosts use.
    places: Places = field(default=NOWHERE_ELSE, compare=False)

    @classmethod
    def of(cls, database: Path, places: Places = NOWHERE_ELSE) -> DatabaseLocation:
        """The location that a setting or an option names: a file, or postgresql://USER@HOST/NAME.

        A path has one slash where a URL has two, and may have been made absolute. Raises ConfigError if there is a password
        in it, which would be seen in lists of processes, logs and answers.
        """
        found = _URL.search(str(database))
        if found is None:
            return cls(database)
        if _PASSWORD.search(found[1]):
            raise ConfigError(
                "the address of PostgreSQL has a password in it, which every user of this machine may come to see",
                operation="read settings",
                remedy="put it into a file as of 'man pgpass', and name that with ?passfile=FILE or PGPASSFILE",
            )
        server = f"postgresql://{found[1]}"
        digest = hashlib.sha256(server.partition("?")[0].encode("utf-8", "surrogateescape")).hexdigest()
        return cls(_state_directory() / f"postgresql-{digest[:12]}", server, places)

    @property
    def setting(self) -> Path:
        """What `of` makes this location from."""
        return Path(self.server) if self.server else self.file

    @property
    def name(self) -> str:
        """The database in an answer: the path of the file, or the URL without its parameters."""
        return self.server.partition("?")[0] or readable(self.file)

    @property
    def directory(self) -> Path:
        """The directory that needs free space: a SQLite database grows in it, with its log, lock and status file."""
        return self.file.parent

    @property
    def shown(self) -> Path:
        """The database in an error."""
        return Path(str(self).replace("://", ":", 1)) if self.server else self.file

    def beside(self, ending: str) -> Path:
        """A file that belongs to the database: its name with `ending`."""
        return self.file.with_name(self.file.name + ending)

    def __str__(self) -> str:
        return self.server.partition("?")[0] or str(self.file)


class Lock(Protocol):
    """The lock on a database, held until `close` or the end of the process."""

    def verify(self, operation: str) -> None:
        """Raise UnusableLedgerError if another process has the lock by now; StorageError if that cannot be determined."""

    def kept(self) -> tuple[str, ...]:
        """Shared folders whose files this daemon moves, renames and removes, and no other: "@STORAGE"."""

    def close(self) -> None:
        """Release the lock; may be called twice."""


class Ledger(Protocol):
    """One open ledger. Thread-safe; every method is one transaction.

    Instants are epoch seconds, and every `now` is the caller's; on a database that several hosts use, the clock of its server is
    read instead. "ours" are pairs (job, generation) from a `Claim`.

    Every method raises StorageError when the database cannot be written or read for a reason outside it, and
    UnusableLedgerError when it is damaged or is no longer where it was opened.
    """

    @property
    def backup(self) -> Path | None:
        """The copy made before this opening upgraded the database; None when it did not upgrade."""

    @property
    def keeping(self) -> Keeping:
        """What is kept after jobs are done: retention, renamed recordings, purging."""

    @property
    def fault(self) -> UnusableLedgerError | None:
        """Reason why this ledger cannot be used any more, set by any thread; every later call raises it."""

    def verify(self) -> None:
        """Raise UnusableLedgerError when the open database is not the one at its location any more. Cheap.

        Raises StorageError when that cannot be determined.
        """

    def limit_waits(self, seconds: float) -> AbstractContextManager[None]:
        """Limit how long calls of this thread wait for other writers within the block; DatabaseLockedError after that.

        A thread that has waited in vain does not wait again until one of its calls succeeds.
        """

    def hurry(self) -> None:
        """Limit the waits of all threads to a few seconds from now on, also those under way; for the stop."""

    def close(self) -> None:
        """Close all connections; may be called twice."""

    # Notifications

    @property
    def outbox(self) -> Outbox:
        """Messages to be sent."""

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Set who is notified of the events that this process puts on record from now on; initially nobody."""

    def announce(self, events: Sequence[Event], now: float) -> None:
        """Put events on record that concern no job. Those that end a job are put there with the end."""

    def note_conditions(self, conditions: Sequence[Condition], now: float) -> None:
        """Put each condition on record as an event that was not there at the last call, also of an earlier process.

        `conditions`: all that last now. One that comes back within ten minutes is not announced again.
        """

    # Admission

    def admit(self, admissions: Sequence[Admission], now: float) -> list[Admitted]:
        """Admit complete files; returns one answer for each, in order.

        A path whose latest recorded content is the same, under the same profile and recipe, keeps its job
        (`created` False) and has its `stat` values refreshed. Anything else is a new job; unfinished jobs of
        earlier contents of that path are cancelled, claimed ones too.
        """

    def known(self, folder: Path) -> Iterator[KnownRecording]:
        """Iterate over the recordings below `folder` that need no admission while they stay as recorded."""

    def skip(self, skipped: Sequence[SkippedFile], now: float) -> None:
        """Record why files were not admitted; a file and code seen before only has its `last_seen` updated.

        Writes nothing about files `at_start` that are on record with the same reason.
        """

    def on_record(self, admission: Admission) -> bool:
        """True when a job for this content at this path is done."""

    def adopt_finished(self, past: Sequence[PastJob], now: float) -> int:
        """Record jobs as done that were finished before this database was made; returns how many are new.

        A job keeps the number that its transcript names, unless that is taken. Queued jobs of the same recordings
        are cancelled. The caller ensures that no daemon works on the database.
        """

    # Again

    def finished_jobs(self, below: Path | None = None) -> list[FinishedJob]:
        """The newest job of each recording on record as it is now, if that is done or failed; by recording.

        `below`: only of this recording, or of recordings below this folder.
        """

    def redo(
        self, requests: Sequence[Redo], now: float, who: str = "", verb: Verb = Verb.REDO
    ) -> list[Redone]:
        """Queue jobs anew, as the next version of their recording; one answer for each, in order.

        `who`: "" for no person. `verb`: what was asked for, for the history.

        Where the recipe is that of the old job and its result is on record, the new job refers to it, so that only its files
        are written. A job is refused when it is unknown or unfinished, its recording has other content by now, or a job of the
        recording is queued or running.
        """

    def revise(
        self, job_id: int, segments: Sequence[Segment], max_attempts: int, now: float, who: str
    ) -> Redone:
        """Queue a finished job anew as the next version of its recording, with these segments as its own result.

        Only its files are written. Refused as `redo`, and when a later version of the recording is done.
        """

    def corrected_jobs(self) -> list[int]:
        """The newest job made by `revise` of each recording, if it is done and has its text."""

    def jobs_with_corrections(self) -> frozenset[int]:
        """All jobs whose result was made by `revise`, their own or that of the job that they refer to."""

    def name_speaker(self, job_id: int, number: int, name: str | None) -> bool:
        """Set or remove the name of a speaker of a job's result; False if the job has no such speaker.

        The result, and so the name, is that of all jobs that refer to it.
        """

    # Claims

    def claim(
        self,
        worker: str,
        limit: int,
        now: float,
        lease_s: float,
        *,
        allow_isolated: bool,
        terms: Terms = NO_TERMS,
    ) -> list[Claim]:
        """Lease up to `limit` queued jobs to `worker`: by priority, then from the folders in turn, the oldest of each first.

        The caller ends each of them (`finish`, `fail`, `release`, `cancel`) or lets its lease expire.

        Claimable is a queued job whose `not_before` has passed and whose folder is neither paused nor closed by `terms`, unless
        another job of the same content is running, or queued before it (of a higher priority, or older), and none is done. An
        isolated job is given only with `allow_isolated`, and then without any other.
        A claim is no attempt: see `begin`. Jobs whose lease has expired are first returned to the queue, as by
        `recover`.
        """

    def unclaim(self, ours: Sequence[tuple[int, int]]) -> None:
        """Give claims back whose recordings no decoder has got, as if they had never been made; stale ones are left."""

    def next_isolated(self, terms: Terms = NO_TERMS) -> float | None:
        """When the first isolated job becomes claimable under these terms, epoch seconds; None while there is none."""

    def begin(self, ours: Sequence[tuple[int, int]]) -> set[int]:
        """Count an attempt for each of these claims; returns the jobs that are no longer ours.

        The caller calls this before a decoder gets the recording, so that a recording that kills the daemon is known
        after the restart.
        """

    def heartbeat(self, ours: Sequence[tuple[int, int]], now: float, lease_s: float) -> set[int]:
        """Renew the leases of these claims; returns the jobs that are no longer ours."""

    def recover(self, now: float) -> Recovered:
        """Return every running job of this host to the queue, at start.

        The caller holds the lock of the host, so no other process of it works on a job. Those of other hosts are returned
        when their leases expire. An interrupted attempt is not
        counted, and its job is isolated (tried again with no other job in progress). `ledger/lone_trials.py` decides
        when a job that was isolated already fails for good.
        """

    def restore_refused(self, now: float) -> int:
        """Queue all jobs again that failed because of the database itself, at start; returns how many."""

    def defer_lone_trials(self, now: float) -> None:
        """Postpone isolated jobs that were interrupted alone, when the daemon is ready: see `lone_trials.wait_after`."""

    def return_unknown(self, worker: str, known: Sequence[int]) -> int:
        """Return jobs to the queue that `worker` has claimed on record, except those in `known`; returns how many.

        For a worker whose claim failed: a commit that the disk refused at the last moment may stand nevertheless.
        """

    def apply_recipes(self, recipe: Callable[[str], str]) -> int:
        """Give queued jobs the recipe that is in force for their profile; returns how many had another.

        `recipe` maps the name of a profile to its recipe.
        """

    # Delays and leases

    def hold(
        self, folder: Path, now: float, *, reason: str, remedy: str, code: str = AWAY, recursive: bool = True
    ) -> int:
        """Make the queued jobs of recordings below `folder` wait for `HOLD_S`; returns how many were held or renewed.

        `recursive` False: only of recordings directly in it. The caller repeats this at least every `HOLD_S` / 2 until `resume`.
        """

    def resume(self, folder: Path, now: float, *, code: str = AWAY, recursive: bool = True) -> int:
        """Make jobs claimable that `hold` holds under this code; returns how many. `recursive` as in `hold`."""

    def shift_instants(self, jump: float) -> None:
        """Shift delays and leases by `jump` seconds, after the system's clock was set forward (or back, if negative)."""

    def reset_overlong_delays(self, now: float, longest_s: float) -> int:
        """Make queued jobs claimable whose delay exceeds `longest_s` seconds, at start; returns how many.

        Such a delay was set under a wrong clock. The delays of isolated jobs are ended in any case, so that the caller,
        which does not know them yet, finds these jobs; those of jobs that could not be published, too, because the cause may be
        over.
        """

    # Actions of people. `who`: in words for people; each is recorded with the states found and made.

    def select(self, which: Selection) -> list[int]:
        """The jobs that meet all conditions, in order: of each recording on record as it is now, the newest one per profile."""

    def retry(self, jobs: Sequence[int], now: float, who: str) -> list[Change]:
        """Queue failed and cancelled jobs again, with all their attempts, and end the delay of queued ones.

        Refused are jobs that are done, running or claimable, and those whose recording has other content or a newer job by now.
        """

    def cancel_jobs(self, jobs: Sequence[int], now: float, who: str) -> list[Change]:
        """Cancel queued and running jobs. The next `heartbeat` of a worker that has claimed one returns it."""

    def prioritise(self, jobs: Sequence[int], priority: int, now: float, who: str) -> list[Change]:
        """Give unfinished jobs a priority of their own, which `apply_priorities` leaves."""

    def apply_priorities(self, priorities: dict[Path, int]) -> int:
        """Give queued jobs the priority of their watched folder, except those that a person gave one; returns how many."""

    def pauses(self) -> list[Pause]:
        """The pauses in force."""

    def pause(self, folder: Path | None, now: float, who: str, *, draining: bool = False) -> Pause | None:
        """Claim no more jobs of a watched folder (None: of any); returns the same pause if it was in force, which stays.

        `draining`: of all folders, and the daemon is to end when nothing is in progress; a pause besides stays in force.
        """

    def resume_folder(
        self, folder: Path | None, now: float, who: str, *, draining: bool = False
    ) -> Pause | None:
        """End the pause of exactly this folder (None: that of all) and return it; None if there was none."""

    def actions(self, limit: int = 50, job_id: int | None = None) -> list[Action]:
        """The history of actions, newest first, all or those on a job."""

    # Ends

    def release(
        self,
        job_id: int,
        generation: int,
        now: float,
        *,
        not_before: float,
        refund: bool,
        isolate: bool,
        code: str,
        reason: str,
        remedy: str = "",
        killed: Killed | None = None,
        unpublished: bool = False,
    ) -> JobState:
        """Return a claimed job to the queue, claimable from `not_before`; with `refund` the attempt does not count.

        `killed`: its decoder was, by something outside; see `daemon/dropscribe/ledger/lone_trials.py`. Consecutive refunded
        attempts with the same `code` are kept as one. `unpublished`: its result is there and could not be published, which
        is counted in `Claim.unpublished`.

        Returns QUEUED; or FAILED, when an attempt that counts was the last. Raises StaleLeaseError when the job
        is not claimed under this generation.
        """

    def fail(self, job_id: int, generation: int, now: float, *, code: str, reason: str, remedy: str) -> None:
        """Fail a claimed job for good. Raises StaleLeaseError as `release` does."""

    def cancel(
        self, job_id: int, now: float, reason: str, generation: int | None = None, code: str | None = None
    ) -> None:
        """Cancel a job: with `generation` one that is claimed under it, without any unfinished one.

        `code` defaults to `recording_gone` with `generation` and to `cancelled` without. After the first the same
        content is transcribed when it appears again, after the second it is not. Raises StaleLeaseError when there
        is nothing to cancel.
        """

    def cancel_gone(self, path: Path, now: float, reason: str) -> list[int]:
        """Cancel the unfinished jobs of a removed recording, claimed ones too; returns them.

        The next `heartbeat` of a worker that has claimed one returns it.
        """

    def finish(self, finished: Sequence[Finish], now: float) -> list[int]:
        """Store the results of jobs whose files are published; returns the jobs that are no longer ours.

        Of a job that is done by reference no segments are stored. A job that is done already under the same
        generation is left as it is: the commit of a refused call may stand, and the caller repeats the call.
        """

    def keep(self, recognised: Sequence[Finish], now: float) -> None:
        """Store the results of claimed jobs that could not be published, so that only publishing is tried again.

        From then on claims of these jobs, and of others of the same content and recipe, name the job as `reference`. A job
        that has a result already, or is no longer ours, is left as it is.
        """

    # Files

    def intend(self, intents: Sequence[tuple[int, int, Sequence[OutputIntent]]], now: float) -> list[int]:
        """Record the files about to be written, for many (job, generation, files); returns the jobs refused.

        A job is refused when it is no longer ours or its path has other content by now; the caller writes nothing
        for it. What earlier attempts recorded for the same path is kept until the job is done, because a file of an
        attempt that was killed may be there; except what attempts before the last one recorded, when something else
        is known to stand there.
        """

    def owned(self, paths: Sequence[Path]) -> dict[Path, tuple[OwnedOutput, ...]]:
        """The files recorded for each of these paths, newest first; no key where there is none."""

    def unpublished(self) -> list[OwnedOutput]:
        """All files that are recorded and perhaps not written, partial texts and notes included."""

    def outputs_of(self, recording: Path) -> list[OwnedOutput]:
        """The files that may exist for the recording at this path, whatever its content, newest first.

        These are the last published one of each path, and those recorded and perhaps written since.
        """

    def outputs_of_each(self, recordings: Sequence[Path]) -> dict[Path, list[OwnedOutput]]:
        """The same of several recordings; no key where there is none."""

    def intend_partial(
        self,
        job: tuple[int, int],
        path: Path,
        sha256: str,
        standing: Sequence[str],
        now: float,
        *,
        size: int | None = None,
    ) -> bool:
        """Record a partial text of `size` bytes about to be written for a claimed (job, generation).

        `standing`: hashes of our files that may be at `path` now; the record of others is removed. Returns False when
        the job is no longer ours; the caller then writes nothing.
        """

    def partials(self, *, left: bool = False) -> list[OwnedOutput]:
        """All partial texts that may be on a disk. `left`: none of jobs that another host works on."""

    def forget_partials(self, gone: Sequence[OwnedOutput]) -> None:
        """Remove partial texts from the record that are no longer at their paths with that content."""

    def notes_due(self, since: float) -> list[Path]:
        """Recordings that have a note on record, or whose job is held or has failed `since`."""

    def notes_of(self, recordings: Sequence[Path]) -> list[NotedRecording]:
        """The newest job and the notes of each recording that is on record."""

    def intend_note(self, noted: NotedRecording, file: OutputIntent, now: float) -> None:
        """Record a note about to be written."""

    def settle_notes(self, written: Sequence[OwnedOutput], gone: Sequence[OwnedOutput]) -> None:
        """Mark notes as published, and remove others from the record that are no longer at their paths."""

    # History

    def stored_result(self, job_id: int) -> StoredResult | None:
        """The result of a job, published or not, with the segments it refers to; None while there is none, or its text was
        removed.
        """

    def jobs(
        self,
        *,
        state: JobState | None = None,
        folder: Path | None = None,
        since: float | None = None,
        limit: int = 50,
        oldest_first: bool = False,
        held: bool = False,
    ) -> list[JobSummary]:
        """Jobs by admission, newest first: in `state`, of recordings below `folder`, admitted at `since` or later, only
        `held` ones.
        """

    def find_jobs(
        self,
        wanted: JobFilter,
        *,
        limit: int = 50,
        after: Cursor | None = None,
        oldest_first: bool = False,
    ) -> JobPage:
        """The first `limit` jobs that meet all conditions, by admission, newest first; with `after` those behind it."""

    def job(self, job_id: int) -> JobDetail | None:
        """Everything recorded of one job; None when there is no such job."""

    def backlog(self) -> list[FolderBacklog]:
        """What is queued, by watched folder, the most first."""

    def counts(self) -> dict[JobState, int]:
        """The number of jobs in each state; every state has its entry."""

    def queue_numbers(self) -> QueueNumbers:
        """Count queued and running jobs. Takes no longer for a long history."""

    def held(self, limit: int = 20) -> list[HeldJobs]:
        """Jobs that are held, by reason, those of most jobs first; see `JobSummary.held`."""

    def held_folders(self) -> list[HeldFolder]:
        """Jobs that are held, by watched folder and reason code."""

    def totals(
        self, by: Sequence[Part], wanted: TotalsFilter, *, stage: str | None = None
    ) -> list[JobTotals]:
        """Totals of ended jobs, divided by these parts, in their order; without any all in one, [] if there are none.

        Durations are those of all stages, or only of `stage`. They are not known by device and by reason.
        """

    def hours(self, since: float) -> list[HourTotals]:
        """What ended in each hour, of jobs admitted at `since` or later. Reads all of these: for the last day or so."""

    def wrong_totals(self) -> dict[str, int]:
        """Compare the totals of ended jobs with these jobs; returns the number of wrong rows by table, {} if all are right.

        Reads all jobs: seconds for each million.
        """

    def renew_totals(self) -> None:
        """Make the totals of ended jobs anew from these jobs. Reads all jobs, and other writers wait meanwhile."""

    def recent_skips(self, limit: int = 50) -> list[SkipSummary]:
        """Files that were not admitted, the last seen first."""

    def search(self, query: str, limit: int = 20, places: int = 5) -> list[Hit]:
        """Segments that contain the first word of `query` and have its other words in or near them.

        Of the newest `limit` recordings that have any, the first `places` of each, in order of time. Words are separated by
        blanks; quotes make a phrase of several. Numbers are found in figures and in words. Nothing else in `query` has a
        special meaning, and case does not matter. Near is within a minute in the same recording. Segments shared by several
        jobs are found once, at the job that has them; the others are its copies.
        """

    def search_in(self, query: str, jobs: Sequence[int], places: int = 5) -> list[Hit]:
        """As `search`, the first `places` in each of these jobs, which have results of their own."""

    # Known voices

    def enrol_voice(self, name: str, model: str, embedding: bytes, now: float) -> None:
        """Record a voice made by a speaker model, in place of an earlier one of that name and model."""

    def known_voices(self, model: str) -> list[KnownVoice]:
        """The voices made by a speaker model, the oldest first."""

    def enrolled_voices(self) -> list[EnrolledVoice]:
        """All known voices, by name."""

    def remove_voice(self, name: str) -> int:
        """Delete the voices of a name; returns their number, 0 if there is none."""
