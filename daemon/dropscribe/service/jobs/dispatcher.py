"""Move jobs from ledger to executor to publisher and back to the ledger. Owned by the daemon's main thread."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

from dropscribe import logs
from dropscribe.columns import shortened
from dropscribe.config import Settings
from dropscribe.engine.protocol import StreamOptions
from dropscribe.errors import EngineDiedError, StaleLeaseError, StorageError, UnansweredError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work, channels_of, options_of
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.problem import FaultKind, Problem, kind_of
from dropscribe.service.jobs.beginning import Beginning
from dropscribe.service.jobs.claimer import LEASE_S, Claimer, Clocks
from dropscribe.service.jobs.outcome_writer import JobEnding, OutcomeWriter, release
from dropscribe.service.jobs.progress import NAME_COLUMNS, JobProgress, Stage
from dropscribe.service.jobs.retry_policy import BLAMELESS_WAIT_S, Again, DeviceFailures, decide
from dropscribe.service.jobs.throughput import Load, Throughput
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.monitoring.tally import Tally
from dropscribe.service.publishing.group_facts import Places
from dropscribe.service.publishing.output_plan import outputs_place
from dropscribe.service.publishing.publisher import Published, Publisher, Ready
from dropscribe.service.storage.storage_retry import Postponable, StorageRetry
from dropscribe.transcript.naming import recording_name

#: Interval of heartbeats, seconds: a quarter of the lease, so that three may be missed.
HEARTBEAT_S = 15.0
#: Interval of checks for partial texts to write, seconds: the loop turns far more often.
CHECK_S = 0.1

#: Problem of a job that is requeued because the file system of its folder hangs.
_UNANSWERED = Problem(
    UnansweredError.code, "the file system of its folder does not answer", "see to the disk or the network share",
    FaultKind.UNANSWERED,
)  # fmt: skip


class _Terms:
    """What recordings of a profile are started with under one state of the settings: found once, not for each recording."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places = Places(settings)
        self._recipes: dict[str, str] = {}
        self._options: dict[str, tuple[StreamOptions, int | str, str]] = {}

    def recipe(self, profile: str) -> str:
        """See `Settings.recipe`."""
        if profile not in self._recipes:
            self._recipes[profile] = self.settings.recipe(profile)
        return self._recipes[profile]

    def work(self, ticket: int, claim: Claim) -> Work:
        """The attempt at a claimed job."""
        if claim.profile not in self._options:
            profile = self.settings.profile(claim.profile)
            options = options_of(self.settings, profile)
            self._options[claim.profile] = options, profile.audio_track, channels_of(profile)
        options, track, channels = self._options[claim.profile]
        outputs = outputs_place(claim, self.places)
        return Work(ticket, claim.path, claim.signature, options, claim.folder, outputs, track, channels)


class Dispatcher:
    """Keep the executor full of claimed jobs and record the outcome of each in the ledger."""

    def __init__(
        self, ledger: Ledger, executor: Executor, publisher: Publisher, claiming: Claimer, beginning: Beginning, *,
        settings: Callable[[], Settings], clocks: Clocks, storage_retry: StorageRetry, outdated: Callable[[], None],
        unwritable: Callable[[Claim, Problem], None], models: UnusableModels, tally: Tally | None = None,
    ) -> None:  # fmt: skip
        """`outdated` is called when the recipe of a claimed job is not that of its profile any more, `unwritable` when the
        outputs of a job may not be written into their folder; `models` is told of models that cannot be loaded.
        """
        self._ledger = ledger
        self._executor = executor
        self._publisher = publisher
        self._claiming = claiming
        self._beginning = beginning
        self._settings = settings
        self._outdated = outdated
        self._unwritable = unwritable
        self._models = models
        self._clocks = clocks
        self._log = logs.get("service")
        self._device_failures = DeviceFailures()
        #: Jobs whose outcome is not recorded in the ledger yet.
        self._outcomes = OutcomeWriter(ledger, clocks.wall, tally or Tally())
        self._renewal, self._delivery = (
            Postponable(storage_retry, step, clocks.monotonic) for step in (self._heartbeat, self._deliver)
        )
        #: By folder whose file system hung a decoder: time until which no job of it is decoded, monotonic seconds.
        self._unanswering: dict[Path, float] = {}
        self._ticket = 0
        #: Claimed, not started yet.
        self._claimed: deque[Claim] = deque()
        #: With the executor, by ticket.
        self._running: dict[int, Claim] = {}
        #: With the publisher, by job.
        self._publishing: dict[int, Claim] = {}
        #: By job that is with executor or publisher: when it was started, monotonic seconds.
        self._began: dict[int, float] = {}
        self._terms = _Terms(settings())
        self._next_heartbeat = 0.0
        self._next_check = 0.0
        self._throughput = Throughput(clocks.monotonic())

    @property
    def in_flight(self) -> int:
        """Number of jobs that are claimed and whose outcome is not recorded."""
        return len(self._claimed) + len(self._running) + len(self._publishing) + len(self._outcomes)

    @property
    def unpublished(self) -> int:
        """Number of jobs to wait for when stopping: recognition runs or is done, and the file system answers."""
        return len(self._running) + len(self._publishing) - self._blocked()

    def progress(self) -> list[JobProgress]:
        """Progress of all jobs in progress, those with the executor first."""
        now = self._clocks.monotonic()
        found = [
            JobProgress.of(
                c.job_id, c.path, self._executor.progress(ticket), now - self._began.get(c.job_id, now)
            )
            for ticket, c in self._running.items()
        ]
        found += [
            JobProgress(c.job_id, c.path, Stage.PUBLISHING, elapsed_s=now - self._began.get(c.job_id, now))
            for c in self._publishing.values()
        ]
        return found + [JobProgress(c.job_id, c.path, Stage.WAITING) for c in self._claimed]

    def give_back(self, closed: Callable[[Path], bool]) -> None:
        """Return claimed jobs of closed folders to the queue that no decoder has got yet, as if never claimed.

        Jobs whose result is there are published all the same. Raises StorageError; the caller tries again later.
        """
        back = [c for c in self._claimed if c.reference is None and closed(c.folder)]
        if back:
            self._ledger.unclaim([(c.job_id, c.generation) for c in back])
        for claim in back:
            self._claimed.remove(claim)
            self._beginning.forget(claim)
            self._claiming.ended(claim)

    def check_leases(self) -> None:
        """Renew leases at the next turn, so that jobs that were cancelled meanwhile are dropped at once."""
        self._next_heartbeat = 0.0

    def rules_changed(self) -> None:
        """Claim at the next turn, because a pause or the hours of a folder have begun or ended."""
        self._claiming.look_again()
        self._claiming.news()

    def load(self, decoders: int, idle: int) -> Load:
        """Rates of the last minute, and how many of the `decoders` are busy."""
        found = [self._executor.progress(ticket) for ticket in self._running]
        in_progress_s = sum(p.recognised_ms for p in found if p is not None) / 1000
        return self._throughput.load(
            self._clocks.monotonic(), in_progress_s=in_progress_s, decoders=decoders, idle=idle
        )

    def claims(self) -> list[Claim]:
        """Jobs that are claimed and whose outcome is not recorded."""
        return self._held()

    def wake(self) -> None:
        """Claim at the next turn, because new jobs may be queued."""
        self._claiming.news()

    def turn(self, timeout_s: float, wake: tuple[int, ...], *, claiming: bool) -> None:
        """Claim and start jobs, wait at most `timeout_s` seconds for events, and apply them.

        `wake`: file descriptors that end the wait when readable. `claiming` False: start no new jobs. Raises
        EngineDiedError; the caller must call `engine_lost` then.
        """
        # First: after a long pause of this process its expired leases must be renewed, not claimed anew by itself.
        renewed = self._renewal()
        if self._delivery() and renewed and claiming:
            # Jobs that cannot be published while a file system hangs do not count towards the limit.
            self._claiming.ask(self.in_flight - self._blocked(), len(self._claimed), self._held)
        # After `ask`, so that between an answer and the next question leases are renewed and clock jumps applied.
        answered = self._collect_claims()
        if claiming:
            self._start()
        # No wait when a job can start at once, or after an answer, because more jobs may be claimable.
        ready_to_start = claiming and self._may_start()
        for outcome in self._executor.turn(0.0 if ready_to_start or answered else timeout_s, wake):
            self._on_outcome(outcome)
        for published in self._publisher.completed():
            self._on_published(published)
        self._show_text()

    def engine_lost(self, fault: EngineDiedError) -> int:
        """Requeue all running jobs after the engine died or hung, suspects as isolated; returns their number."""
        problem = Problem(
            fault.code, f"{fault.reason} while it worked on this recording",
            "see the log for what the engine met; 'dropscribe doctor' checks the chain",
            kind_of(fault.code, retryable=fault.retryable),
        )  # fmt: skip
        alone = len(self._running) == 1 and self._claiming.alone
        self._executor.abandon()
        lost = list(self._running.values())
        self._running.clear()
        for claim in lost:
            self._apply(claim, problem, alone=alone)
        return len(lost)

    def requeue_all(self) -> int:
        """Requeue every job that is not with the publisher; returns their number. For stopping.

        Waits for an open claim and requeues its jobs, too.
        """
        now = self._clocks.wall()
        for ticket in list(self._running):
            self._executor.abort(ticket)
        self._claimed.extend(self._claiming.last())
        back = [*self._claimed, *self._running.values()]
        for claim in self._running.values():
            self._publisher.partials.drop(claim.job_id)
        self._claimed.clear()
        self._running.clear()
        stopped = Problem(
            "stopped",
            "the daemon stopped",
            "it goes on when the daemon is started again",
            FaultKind.ENVIRONMENT,
        )
        try:
            self._deliver()
            for claim in back:
                ending = JobEnding(claim, stopped, Again(now, refund=True, isolate=claim.isolate))
                # A job that was cancelled or superseded since the last heartbeat needs no release.
                with contextlib.suppress(StaleLeaseError):
                    release(self._ledger, ending, now)
        except StorageError as e:
            # The ledger still has these jobs as claimed; the next start requeues them.
            logs.problem(self._log, logs.Action.STORAGE, f"jobs are left to the next start: {e}")
        return len(back)

    def _blocked(self) -> int:
        """Number of jobs that cannot be published because a file system does not answer."""
        waiting = self._publisher.waiting
        return len(waiting & self._publishing.keys()) if waiting else 0

    def _held(self) -> list[Claim]:
        return [
            *self._claimed, *self._running.values(), *self._publishing.values(), *self._outcomes.claims(),
        ]  # fmt: skip

    def _collect_claims(self) -> bool:
        """Add newly claimed jobs to those in flight; returns whether there was an answer."""
        claimed = self._claiming.answer()
        if claimed is None:
            return False
        self._claimed.extend(claimed.claims)
        # The call or this process may have stalled: heartbeats must count from the oldest lease.
        self._next_heartbeat = min(self._next_heartbeat, claimed.asked_at + HEARTBEAT_S)
        return True

    def _may_start(self) -> bool:
        """Whether the next claimed job can start: it needs no decoder, or its start is on record and one is idle."""
        if not self._claimed:
            return False
        claim = self._claimed[0]
        return claim.reference is not None or (self._beginning.begun(claim) and self._executor.room() > 0)

    def _start(self) -> None:
        self._start_begun()
        if self._beginning.ask((c for c in self._claimed if c.reference is None), self._executor.room()):
            self._start_begun()

    def _start_begun(self) -> None:
        self._drop(self._beginning.answer())
        settings = self._settings()
        if self._terms.settings is not settings:
            self._terms = _Terms(settings)
        while self._may_start():
            claim = self._claimed[0]
            recognised = claim.result_given or claim.reference == claim.job_id
            if not recognised and not claim.is_under(self._terms.recipe(claim.profile)):
                self._claimed.popleft()
                self._requeue_outdated(claim)
                continue
            if claim.reference is not None:
                self._claimed.popleft()
                self._throughput.add(0.0, self._clocks.monotonic())
                self._publish(claim, None)
                continue
            if self._unanswering.get(claim.folder, 0.0) > self._clocks.monotonic():
                self._claimed.popleft()
                self._beginning.forget(claim)
                self._apply(claim, _UNANSWERED, alone=False)
                continue
            self._claimed.popleft()
            self._beginning.started(claim)
            self._ticket += 1
            self._running[self._ticket] = claim
            self._began[claim.job_id] = self._clocks.monotonic()
            self._executor.start(self._terms.work(self._ticket, claim))

    def _requeue_outdated(self, claim: Claim) -> None:
        """Requeue a job whose profile changed during its claim: its result would be stored under the old recipe."""
        self._beginning.forget(claim)
        problem = Problem(
            "reloaded",
            "its profile was changed before it was begun",
            "it goes on at once",
            FaultKind.ENVIRONMENT,
        )
        again = Again(self._clocks.wall(), refund=True, isolate=claim.isolate)
        self._outcomes.add(JobEnding(claim, problem, again))
        self._delivery()
        self._outdated()

    def _on_outcome(self, outcome: Outcome) -> None:
        claim = self._running.pop(outcome.ticket, None)
        if claim is None:
            # It ended in the turn in which the engine died, and was requeued with the others.
            return
        if isinstance(outcome.end, Result):
            self._device_failures.recognised(claim.job_id)
            audio_s = outcome.end.media.duration_ms / 1000
            self._claiming.recognised(claim, audio_s)
            self._throughput.add(audio_s, self._clocks.monotonic())
            self._models.usable(claim.folder)
            self._publish(claim, outcome.end)
        else:
            if outcome.end.kind is FaultKind.UNANSWERED:
                self._unanswering[claim.folder] = self._clocks.monotonic() + BLAMELESS_WAIT_S
            self._apply(claim, outcome.end, alone=self._claiming.alone)

    def _show_text(self) -> None:
        now = self._clocks.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_S
        partials = self._publisher.partials
        for ticket, claim in self._running.items():
            heard = self._executor.heard(ticket)
            if heard is not None and heard.segments and partials.wants(claim, heard, now):
                partials.put(claim, self._executor.texts(ticket), heard, now)

    def _publish(self, claim: Claim, result: Result | None) -> None:
        self._publishing[claim.job_id] = claim
        self._publisher.put(Ready(claim, result))

    def _on_published(self, published: Published) -> None:
        claim = self._publishing.pop(published.job_id)
        if published.problem is not None:
            self._apply(claim, published.problem, alone=self._claiming.alone, publishing=True)
        else:
            self._settled(claim)
            self._publisher.notes.take(claim, done=True)
        # Jobs with the same content may be done by reference now.
        self.wake()

    def _apply(self, claim: Claim, problem: Problem, *, alone: bool, publishing: bool = False) -> None:
        now = self._clocks.wall()
        if problem.kind is FaultKind.UNWRITABLE:
            self._unwritable(claim, problem)
        if problem.kind is FaultKind.MODEL:
            self._models.found(claim, problem)
        decision = decide(
            problem.kind, attempt=claim.attempt, max_attempts=claim.max_attempts, alone=alone, now=now,
            unproven=self._device_failures.count(claim.job_id) if alone and problem.kind is FaultKind.DEVICE else 0,
            lone_deaths=claim.lone_deaths, others_done=claim.others_done,
            unpublished=claim.unpublished + 1 if publishing else 0,
        )  # fmt: skip
        if isinstance(decision, Again) and decision.isolate:
            self._claiming.look_again()
        self._outcomes.add(JobEnding(claim, problem, decision))
        self._delivery()

    def _deliver(self) -> None:
        self._outcomes.deliver(self._ended_otherwise)

    def _ended_otherwise(self, claim: Claim) -> None:
        """Handle a job that has failed, was cancelled or requeued, which is on record."""
        self._settled(claim)
        self._publisher.notes.take(claim, done=False)

    def _settled(self, claim: Claim) -> None:
        self._publisher.partials.drop(claim.job_id)
        self._began.pop(claim.job_id, None)
        self._claiming.ended(claim)

    def _heartbeat(self) -> None:
        now = self._clocks.monotonic()
        if now < self._next_heartbeat:
            return
        # The due time of isolated jobs may have changed: a job with the same content ended, or the clock was set.
        self._claiming.look_again()
        ours = [(c.job_id, c.generation) for c in self._held()]
        lost = self._ledger.heartbeat(ours, self._clocks.wall(), LEASE_S)
        self._next_heartbeat = now + HEARTBEAT_S
        self._drop(lost)

    def _drop(self, lost: set[int]) -> None:
        """Abort and forget jobs whose claim was lost."""
        if not lost:
            return
        for ticket, claim in list(self._running.items()):
            if claim.job_id in lost:
                self._executor.abort(ticket)
                del self._running[ticket]
                self._settled(claim)
                logs.problem(
                    self._log,
                    logs.Action.JOB_REFUSED,
                    f"{shortened(recording_name(claim.path), NAME_COLUMNS)}: was taken over or cancelled",
                    job=claim.job_id,
                    path=str(claim.path),
                )
        for claim in [c for c in self._claimed if c.job_id in lost]:
            self._claimed.remove(claim)
            self._beginning.forget(claim)
            self._settled(claim)
