"""What becomes of a job that did not work out. Pure policy: a decision is returned, the ledger applies it."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.ledger.records import Killed
from dropscribe.ledger.sqlite.jobs.lone_trials import is_last, wait_after
from dropscribe.pipeline.problem import FaultKind

#: First wait before another try, seconds; it doubles with each attempt.
FIRST_WAIT_S = 2.0
#: Longest wait between two tries, seconds.
LONGEST_WAIT_S = 300.0
#: Wait after a fault outside the recording (disk full, share away, file rewritten), which takes time to mend, seconds.
BLAMELESS_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Again:
    """Back to the queue, claimable from `not_before` (epoch seconds)."""

    not_before: float
    refund: bool
    isolate: bool
    killed: Killed | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job has failed for good."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The recording that was admitted is there no more (removed, rewritten): the job is cancelled, not failed."""


Decision = Again | GiveUp | Drop


def decide(
    kind: FaultKind, *, attempt: int, max_attempts: int, alone: bool, now: float,
    unproven: int = 0, lone_deaths: int = 0, others_done: bool = False,
) -> Decision:  # fmt: skip
    """What to do after `attempt` (1 for the first) ended with a fault of this kind at `now` (epoch seconds).

    `alone`: no other recording was being worked on. `unproven`: what `DeviceFailures.count` returned, for a device
    that failed on a recording alone; else 0. `lone_deaths`, `others_done`: as in `Claim`.
    """
    last = attempt >= max_attempts
    match kind:
        case FaultKind.RECORDING:
            return GiveUp()
        case FaultKind.CHANGED:
            # A mere touch is healed when the file is admitted again, once it has been quiet for long enough. A missing
            # file may lie in a folder that was unmounted this instant: intake tells the two apart, and cancels the job
            # of a removed file or has that of an unmounted one wait. Never failed: intake does not admit content again
            # that a failed job stands for, so the recording would be ignored were it to return.
            return Drop() if last else Again(now + BLAMELESS_WAIT_S, refund=False, isolate=False)
        case FaultKind.STORAGE | FaultKind.UNANSWERED | FaultKind.ENVIRONMENT:
            return Again(now + BLAMELESS_WAIT_S, refund=True, isolate=False)
        case FaultKind.TRANSIENT:
            return GiveUp() if last else Again(now + _wait(attempt), refund=False, isolate=False)
        case FaultKind.DECODER_KILLED:
            # Costs no try; deaths during lone trials have a limit of their own (`daemon/dropscribe/ledger/sqlite/jobs/lone_trials.py`).
            if not alone:
                return Again(now, refund=True, isolate=True, killed=Killed.AMONG_OTHERS)
            if is_last(lone_deaths + 1, others_done=others_done):
                return GiveUp()
            wait_s = wait_after(lone_deaths + 1)
            return Again(now + wait_s, refund=True, isolate=True, killed=Killed.ALONE)
        case FaultKind.ENGINE | FaultKind.DEVICE:
            # With many recordings in the engine each is a suspect and none is to blame: all are tried again, alone.
            # With a single one, that one is the cause, unless the device may fail on any.
            if not alone:
                return Again(now, refund=True, isolate=True)
            if unproven:
                wait_s = min(LONGEST_WAIT_S, BLAMELESS_WAIT_S * 2 ** (unproven - 1))
                return Again(now + wait_s, refund=True, isolate=True)
            return GiveUp() if last else Again(now + _wait(attempt), refund=False, isolate=True)


def _wait(attempt: int) -> float:
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))


class DeviceFailures:
    """Failures of a device on recordings tried alone, of which it is not shown whether the recording is the cause. Pure.

    A broken device fails on every recording; a recording that breaks the device fails on one that does others well. So
    a recording is the cause only when another one has been recognised between its first failure and its latest. Until
    then it waits, and costs no try. The counts end with the daemon, which costs such a recording one more uncounted
    try. Owned by one thread.
    """

    def __init__(self) -> None:
        self._recognised = 0
        #: By job: how many had been recognised when a device first failed on it alone, and how often that was.
        self._failed: dict[int, tuple[int, int]] = {}

    def recognised(self, job: int) -> None:
        """Note that a recording has been recognised."""
        self._recognised += 1
        self._failed.pop(job, None)

    def count(self, job: int) -> int:
        """Note a failure on this job alone; returns how many there are so far, 0 once the recording is shown to be the cause."""
        before, times = self._failed.get(job, (self._recognised, 0))
        if self._recognised > before:
            return 0
        self._failed[job] = before, times + 1
        return times + 1
