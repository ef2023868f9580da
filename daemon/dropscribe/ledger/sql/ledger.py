"""The ledger in a database that speaks SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from dropscribe.errors import UnusableLedgerError
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
from dropscribe.ledger.sql.dialect import Database, ahead_s
from dropscribe.ledger.sql.history.backlog import Backlog
from dropscribe.ledger.sql.history.queries import History
from dropscribe.ledger.sql.history.queue_numbers import queue_numbers
from dropscribe.ledger.sql.history.totals import Totals
from dropscribe.ledger.sql.jobs.actions import Actions
from dropscribe.ledger.sql.jobs.admission import Admissions
from dropscribe.ledger.sql.jobs.adoption import Adoption
from dropscribe.ledger.sql.jobs.claims import Claims
from dropscribe.ledger.sql.jobs.endings import Endings
from dropscribe.ledger.sql.jobs.holds import Holds
from dropscribe.ledger.sql.jobs.notes import Notes
from dropscribe.ledger.sql.jobs.outputs import Outputs, PartialOutputs
from dropscribe.ledger.sql.jobs.redoing import Redoing
from dropscribe.ledger.sql.jobs.results import Results
from dropscribe.ledger.sql.keeping.keeping import SqlKeeping
from dropscribe.ledger.sql.outbox.events import EventWriter
from dropscribe.ledger.sql.outbox.messages import Messages
from dropscribe.ledger.sql.search.transcripts import TranscriptSearch
from dropscribe.ledger.sql.voices import Voices
from dropscribe.transcript.known_voices import KnownVoice
from dropscribe.transcript.types import Segment


class SqlLedger:
    """Implements `Ledger`, where the methods are documented, on one open database.

    Each method calls the class that has its statements, in the module of that name.
    """

    def __init__(self, db: Database, backup: Path | None = None) -> None:
        self._db = db
        self.backup = backup
        self._events = EventWriter(db)
        self._messages = Messages(db)
        self._admissions = Admissions(db)
        self._claims = Claims(db, self._events)
        self._adoption = Adoption(db)
        self._holds = Holds(db)
        self._endings = Endings(db, self._events)
        self._actions = Actions(db)
        self._backlog = Backlog(db)
        self._outputs = Outputs(db)
        self._partials = PartialOutputs(db)
        self._notes = Notes(db)
        self._results = Results(db, self._events)
        self._history = History(db)
        self._totals = Totals(db)
        self._redoing = Redoing(db)
        self._search = TranscriptSearch(db)
        self._voices = Voices(db)
        self.keeping: Keeping = SqlKeeping(db)

    @property
    def fault(self) -> UnusableLedgerError | None:
        return self._db.fault

    def verify(self) -> None:
        self._db.verify("verify database")

    def limit_waits(self, seconds: float) -> AbstractContextManager[None]:
        return self._db.waits.limited(seconds)

    def hurry(self) -> None:
        self._db.waits.hurry()

    def close(self) -> None:
        self._db.close()

    # Notifications

    @property
    def outbox(self) -> Outbox:
        return self._messages

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        self._events.subscribe(subscriptions)

    def announce(self, events: Sequence[Event], now: float) -> None:
        self._events.announce(events, self._db.instant(now))

    def note_conditions(self, conditions: Sequence[Condition], now: float) -> None:
        self._events.note_conditions(conditions, self._db.instant(now))

    # Admission

    def admit(self, admissions: Sequence[Admission], now: float) -> list[Admitted]:
        return self._admissions.admit(admissions, self._db.instant(now))

    def known(self, folder: Path) -> Iterator[KnownRecording]:
        return self._admissions.known(folder)

    def skip(self, skipped: Sequence[SkippedFile], now: float) -> None:
        self._admissions.skip(skipped, self._db.instant(now))

    # Again

    def finished_jobs(self, below: Path | None = None) -> list[FinishedJob]:
        return self._redoing.finished(below)

    def redo(
        self, requests: Sequence[Redo], now: float, who: str = "", verb: Verb = Verb.REDO
    ) -> list[Redone]:
        return self._redoing.redo(requests, self._db.instant(now), who, verb)

    def revise(
        self, job_id: int, segments: Sequence[Segment], max_attempts: int, now: float, who: str
    ) -> Redone:
        return self._redoing.revise(job_id, segments, max_attempts, self._db.instant(now), who)

    def corrected_jobs(self) -> list[int]:
        return self._redoing.corrected()

    def jobs_with_corrections(self) -> frozenset[int]:
        return self._redoing.with_corrections()

    def name_speaker(self, job_id: int, number: int, name: str | None) -> bool:
        return self._redoing.name_speaker(job_id, number, name)

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
        return self._claims.claim(
            worker, limit, self._db.instant(now), lease_s, allow_isolated=allow_isolated, terms=terms
        )

    def unclaim(self, ours: Sequence[tuple[int, int]]) -> None:
        self._claims.unclaim(ours)

    def next_isolated(self, terms: Terms = NO_TERMS) -> float | None:
        due = self._claims.next_isolated(terms)
        return None if due is None else due - ahead_s(self._db)

    def heartbeat(self, ours: Sequence[tuple[int, int]], now: float, lease_s: float) -> set[int]:
        return self._claims.heartbeat(ours, self._db.instant(now), lease_s)

    def begin(self, ours: Sequence[tuple[int, int]]) -> set[int]:
        return self._claims.begin(ours)

    def recover(self, now: float) -> Recovered:
        return self._claims.recover(self._db.instant(now))

    def restore_refused(self, now: float) -> int:
        return self._claims.restore_refused(self._db.instant(now))

    def defer_lone_trials(self, now: float) -> None:
        self._claims.defer_lone_trials(self._db.instant(now))

    def return_unknown(self, worker: str, known: Sequence[int]) -> int:
        return self._claims.return_unknown(worker, known)

    def apply_recipes(self, recipe: Callable[[str], str]) -> int:
        return self._claims.apply_recipes(recipe)

    # Adoption

    def on_record(self, admission: Admission) -> bool:
        return self._adoption.on_record(admission)

    def adopt_finished(self, past: Sequence[PastJob], now: float) -> int:
        return self._adoption.adopt(past, self._db.instant(now))

    # Delays and leases

    def hold(
        self, folder: Path, now: float, *, reason: str, remedy: str, code: str = AWAY, recursive: bool = True
    ) -> int:
        at = self._db.instant(now)
        return self._holds.hold(folder, at, reason=reason, remedy=remedy, code=code, recursive=recursive)

    def resume(self, folder: Path, now: float, *, code: str = AWAY, recursive: bool = True) -> int:
        return self._holds.resume(folder, self._db.instant(now), code=code, recursive=recursive)

    def shift_instants(self, jump: float) -> None:
        self._holds.shift_instants(jump)

    def reset_overlong_delays(self, now: float, longest_s: float) -> int:
        return self._holds.reset_overlong_delays(self._db.instant(now), longest_s)

    # Actions of people

    def select(self, which: Selection) -> list[int]:
        return self._actions.select(which)

    def retry(self, jobs: Sequence[int], now: float, who: str) -> list[Change]:
        return self._actions.retry(jobs, self._db.instant(now), who)

    def cancel_jobs(self, jobs: Sequence[int], now: float, who: str) -> list[Change]:
        return self._actions.cancel(jobs, self._db.instant(now), who)

    def prioritise(self, jobs: Sequence[int], priority: int, now: float, who: str) -> list[Change]:
        return self._actions.prioritise(jobs, priority, self._db.instant(now), who)

    def apply_priorities(self, priorities: dict[Path, int]) -> int:
        return self._actions.apply_priorities(priorities)

    def pauses(self) -> list[Pause]:
        return self._actions.pauses()

    def pause(self, folder: Path | None, now: float, who: str, *, draining: bool = False) -> Pause | None:
        return self._actions.pause(folder, self._db.instant(now), who, draining=draining)

    def resume_folder(
        self, folder: Path | None, now: float, who: str, *, draining: bool = False
    ) -> Pause | None:
        return self._actions.resume(folder, self._db.instant(now), who, draining=draining)

    def actions(self, limit: int = 50, job_id: int | None = None) -> list[Action]:
        return self._actions.history(limit, job_id)

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
        at = self._db.instant(now)
        return self._endings.release(
            job_id, generation, at,
            not_before=not_before + at - now, refund=refund, isolate=isolate, code=code, reason=reason, remedy=remedy,
            killed=killed, unpublished=unpublished,
        )  # fmt: skip

    def fail(self, job_id: int, generation: int, now: float, *, code: str, reason: str, remedy: str) -> None:
        self._endings.fail(job_id, generation, self._db.instant(now), code=code, reason=reason, remedy=remedy)

    def cancel(
        self, job_id: int, now: float, reason: str, generation: int | None = None, code: str | None = None
    ) -> None:
        self._endings.cancel(job_id, self._db.instant(now), reason, generation=generation, code=code)

    def cancel_gone(self, path: Path, now: float, reason: str) -> list[int]:
        return self._endings.cancel_gone(path, self._db.instant(now), reason)

    def finish(self, finished: Sequence[Finish], now: float) -> list[int]:
        return self._results.finish(finished, self._db.instant(now))

    def keep(self, recognised: Sequence[Finish], now: float) -> None:
        self._results.keep(recognised, self._db.instant(now))

    # Files

    def intend(self, intents: Sequence[tuple[int, int, Sequence[OutputIntent]]], now: float) -> list[int]:
        return self._outputs.intend(intents, self._db.instant(now))

    def owned(self, paths: Sequence[Path]) -> dict[Path, tuple[OwnedOutput, ...]]:
        return self._outputs.owned(paths)

    def unpublished(self) -> list[OwnedOutput]:
        return self._outputs.unpublished()

    def outputs_of(self, recording: Path) -> list[OwnedOutput]:
        return self._outputs.outputs_of_each([recording]).get(recording, [])

    def outputs_of_each(self, recordings: Sequence[Path]) -> dict[Path, list[OwnedOutput]]:
        return self._outputs.outputs_of_each(recordings)

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
        return self._partials.intend(job, path, sha256, standing, self._db.instant(now), size=size)

    def partials(self, *, left: bool = False) -> list[OwnedOutput]:
        return self._partials.all(left=left)

    def forget_partials(self, gone: Sequence[OwnedOutput]) -> None:
        self._partials.forget(gone)

    def notes_due(self, since: float) -> list[Path]:
        return self._notes.due(since + ahead_s(self._db))

    def notes_of(self, recordings: Sequence[Path]) -> list[NotedRecording]:
        return self._notes.of(recordings)

    def intend_note(self, noted: NotedRecording, file: OutputIntent, now: float) -> None:
        self._notes.intend(noted, file, self._db.instant(now))

    def settle_notes(self, written: Sequence[OwnedOutput], gone: Sequence[OwnedOutput]) -> None:
        self._notes.settle(written, gone)

    # History

    def stored_result(self, job_id: int) -> StoredResult | None:
        return self._results.stored_result(job_id)

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
        wanted = JobFilter(state=state, folder=folder, since=since, held=held)
        return list(self._history.page(wanted, limit, None, oldest_first=oldest_first).jobs)

    def find_jobs(
        self,
        wanted: JobFilter,
        *,
        limit: int = 50,
        after: Cursor | None = None,
        oldest_first: bool = False,
    ) -> JobPage:
        return self._history.page(wanted, limit, after, oldest_first=oldest_first)

    def job(self, job_id: int) -> JobDetail | None:
        return self._history.job(job_id)

    def backlog(self) -> list[FolderBacklog]:
        return self._backlog.by_folder()

    def counts(self) -> dict[JobState, int]:
        return self._history.counts()

    def queue_numbers(self) -> QueueNumbers:
        return queue_numbers(self._db)

    def held(self, limit: int = 20) -> list[HeldJobs]:
        return self._history.held(limit)

    def held_folders(self) -> list[HeldFolder]:
        return self._history.held_folders()

    def totals(
        self, by: Sequence[Part], wanted: TotalsFilter, *, stage: str | None = None
    ) -> list[JobTotals]:
        return self._totals.read(by, wanted, stage)

    def hours(self, since: float) -> list[HourTotals]:
        return self._totals.hours(since)

    def wrong_totals(self) -> dict[str, int]:
        return self._totals.wrong()

    def renew_totals(self) -> None:
        self._totals.renew()

    def recent_skips(self, limit: int = 50) -> list[SkipSummary]:
        return self._history.recent_skips(limit)

    def search(self, query: str, limit: int = 20, places: int = 5) -> list[Hit]:
        return self._search.search(query, limit, places)

    def search_in(self, query: str, jobs: Sequence[int], places: int = 5) -> list[Hit]:
        return self._search.search_in(query, jobs, places)

    # Known voices

    def enrol_voice(self, name: str, model: str, embedding: bytes, now: float) -> None:
        self._voices.enrol(name, model, embedding, self._db.instant(now))

    def known_voices(self, model: str) -> list[KnownVoice]:
        return self._voices.known(model)

    def enrolled_voices(self) -> list[EnrolledVoice]:
        return self._voices.enrolled()

    def remove_voice(self, name: str) -> int:
        return self._voices.remove(name)
