"""Record the outcomes of failed attempts in the ledger."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dropscribe import logs
from dropscribe.columns import shortened
from dropscribe.errors import StaleLeaseError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim, JobState
from dropscribe.pipeline.problem import Problem
from dropscribe.service.jobs.progress import NAME_COLUMNS
from dropscribe.service.jobs.retry_policy import Again, Decision, Drop, GiveUp
from dropscribe.service.monitoring.tally import Tally
from dropscribe.transcript.naming import recording_name


@dataclass(frozen=True, slots=True)
class JobEnding:
    """Decision on a job whose attempt failed, with the problem."""

    claim: Claim
    problem: Problem
    decision: Decision


class OutcomeWriter:
    """Queue of job endings, recorded in order; a storage failure keeps that ending and all later ones queued.

    The owner must renew the leases of queued jobs (`claims`). Owned by the main thread.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], float], tally: Tally) -> None:
        """`now`: epoch seconds."""
        self._ledger = ledger
        self._tally = tally
        self._now = now
        self._log = logs.get("service")
        self._passed: deque[JobEnding] = deque()

    def __len__(self) -> int:
        return len(self._passed)

    def claims(self) -> list[Claim]:
        """Claims of the jobs whose ending is not recorded yet."""
        return [v.claim for v in self._passed]

    def add(self, ending: JobEnding) -> None:
        self._passed.append(ending)

    def deliver(self, settled: Callable[[Claim], None]) -> None:
        """Record all queued endings and call `settled` for each. Raises StorageError; the rest stays queued."""
        while self._passed:
            ending = self._passed[0]
            self._put_on_record(ending)
            self._passed.popleft()
            settled(ending.claim)

    def _put_on_record(self, ending: JobEnding) -> None:
        claim, problem = ending.claim, ending.problem
        keys = {
            "job": claim.job_id,
            "path": str(claim.path),
            "attempt": claim.attempt,
            "code": problem.code,
            "reason": problem.reason,
        }
        name = shortened(recording_name(claim.path), NAME_COLUMNS)
        try:
            match ending.decision:
                case Again():
                    if release(self._ledger, ending, self._now()) is JobState.FAILED:
                        self._tally.ended(JobState.FAILED, problem.code)
                    logs.problem(
                        self._log,
                        logs.Action.JOB_RETRY,
                        f"{name}: is tried again: {problem.reason}",
                        remedy=problem.remedy,
                        **keys,
                    )
                case GiveUp():
                    self._ledger.fail(
                        claim.job_id, claim.generation, self._now(),
                        code=problem.code, reason=problem.reason, remedy=problem.remedy,
                    )  # fmt: skip
                    self._tally.ended(JobState.FAILED, problem.code)
                    logs.problem(
                        self._log,
                        logs.Action.JOB_FAILED,
                        f"{name}: failed: {problem.reason}",
                        remedy=problem.remedy,
                        **keys,
                    )
                case Drop():
                    self._ledger.cancel(
                        claim.job_id, self._now(), problem.reason, generation=claim.generation
                    )
                    self._tally.ended(JobState.CANCELLED, problem.code)
                    logs.event(
                        self._log, logs.Action.JOB_CANCELLED, f"{name}: cancelled: {problem.reason}", **keys
                    )
        except StaleLeaseError as e:
            logs.problem(self._log, logs.Action.JOB_REFUSED, f"{name}: {e.reason}", **keys)


def release(ledger: Ledger, ending: JobEnding, now: float) -> JobState:
    """Requeue a job whose decision is `Again`; returns its state, FAILED after its last attempt. Raises StaleLeaseError, StorageError."""
    claim, problem, again = ending.claim, ending.problem, ending.decision
    assert isinstance(again, Again)
    return ledger.release(
        claim.job_id, claim.generation, now,
        not_before=again.not_before, refund=again.refund, isolate=again.isolate,
        code=problem.code, reason=problem.reason, remedy=problem.remedy, killed=again.killed,
        unpublished=again.unpublished,
    )  # fmt: skip
