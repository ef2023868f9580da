"""Decide on retry, failure or cancellation after a failed attempt. Pure: `OutcomeWriter` applies the decision."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.ledger.lone_trials import is_last, wait_after
from dropscribe.ledger.records import Killed
from dropscribe.pipeline.problem import FaultKind

#: First retry delay, seconds; it doubles with each attempt.
FIRST_WAIT_S = 2.0
#: Longest retry delay, seconds.
LONGEST_WAIT_S = 300.0
#: Retry delay after a fault outside the recording (disk full, share unmounted, file rewritten), seconds.
BLAMELESS_WAIT_S = 30.0
#: Longest delay of publishing again, seconds; the delay begins at `BLAMELESS_WAIT_S` and doubles with each failure.
LONGEST_PUBLISHING_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Again:
    """Requeue the job, claimable from `not_before` (epoch seconds)."""

    not_before: float
    refund: bool
    isolate: bool
    killed: Killed | None = None
    #: Its result is there, and only publishing is tried again.
    unpublished: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Fail the job for good."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Cancel the job, because the admitted recording was removed or rewritten."""


Decision = Again | GiveUp | Drop


def decide(
    kind: FaultKind, *, attempt: int, max_attempts: int, alone: bool, now: float,
    unproven: int = 0, lone_deaths: int = 0, others_done: bool = False, unpublished: int = 0,
) -> Decision:  # fmt: skip
    """Decide after `attempt` (1 for the first) ended with a fault of this kind at `now` (epoch seconds).

    `alone`: no other recording was in flight. `unproven`: result of `DeviceFailures.count` for a device fault on a
    recording alone; else 0. `lone_deaths`, `others_done`: as in `Claim`. `unpublished`: number of failed publications of its
    result, this one included; 0 for a fault before publishing.
    """
    last = attempt >= max_attempts
    match kind:
        case FaultKind.RECORDING:
            return GiveUp()
        case FaultKind.CHANGED:
            # A touched file is admitted again after its quiet period. A missing file may be in a folder that was just
            # unmounted: intake distinguishes the two, and cancels the job of a removed file or holds that of an
            # unmounted one. The job is never failed, because intake does not admit content of a failed job again, and
            # the recording would be ignored if it came back.
            return Drop() if last else Again(now + BLAMELESS_WAIT_S, refund=False, isolate=False)
        case (
            FaultKind.STORAGE
            | FaultKind.UNWRITABLE
            | FaultKind.UNANSWERED
            | FaultKind.ENVIRONMENT
            | FaultKind.MODEL
        ):
            wait_s = BLAMELESS_WAIT_S if not unpublished else _publishing_wait(unpublished)
            return Again(now + wait_s, refund=True, isolate=False, unpublished=unpublished > 0)
        case FaultKind.TRANSIENT:
            return GiveUp() if last else Again(now + _wait(attempt), refund=False, isolate=False)
        case FaultKind.DECODER_KILLED:
            # Not counted as an attempt; lone deaths have their own limit (`ledger/lone_trials.py`).
            if not alone:
                return Again(now, refund=True, isolate=True, killed=Killed.AMONG_OTHERS)
            if is_last(lone_deaths + 1, others_done=others_done):
                return GiveUp()
            wait_s = wait_after(lone_deaths + 1)
            return Again(now + wait_s, refund=True, isolate=True, killed=Killed.ALONE)
        case FaultKind.NODE | FaultKind.PUBLISHING:
            # Nothing speaks against the recordings that a lost machine worked on. The executor of a cluster suspects one that
            # lost several. What a lost process was writing is written by another one, or by the daemon where none is left.
            return Again(now, refund=True, isolate=False)
        case FaultKind.ENGINE | FaultKind.DEVICE:
            # With several recordings in the engine the cause is unknown: each is tried again alone.
            # With a single one, that one is the cause, unless the device may fail on any recording.
            if not alone:
                return Again(now, refund=True, isolate=True)
            if unproven:
                wait_s = min(LONGEST_WAIT_S, BLAMELESS_WAIT_S * 2 ** (unproven - 1))
                return Again(now + wait_s, refund=True, isolate=True)
            return GiveUp() if last else Again(now + _wait(attempt), refund=False, isolate=True)


def _publishing_wait(failures: int) -> float:
    return float(min(LONGEST_PUBLISHING_WAIT_S, BLAMELESS_WAIT_S * 2 ** min(failures - 1, 16)))


def _wait(attempt: int) -> float:
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))


class DeviceFailures:
    """Count device failures on isolated recordings while the cause, device or recording, is undecided. Pure.

    A broken device fails on every recording; a recording that breaks the device fails on a device that recognises
    others. So a recording is the cause only if another one was recognised between its first and its latest failure.
    Until then its failures are not counted as attempts. The counts are lost when the daemon ends, which gives such a
    recording one more uncounted attempt. Owned by one thread.
    """

    def __init__(self) -> None:
        self._recognised = 0
        #: By job: `_recognised` at the first device failure on it alone, and the number of such failures.
        self._failed: dict[int, tuple[int, int]] = {}

    def recognised(self, job: int) -> None:
        """Note that a recording has been recognised."""
        self._recognised += 1
        self._failed.pop(job, None)

    def count(self, job: int) -> int:
        """Note a failure on this job alone; returns their number, or 0 once the recording is shown to be the cause."""
        before, times = self._failed.get(job, (self._recognised, 0))
        if self._recognised > before:
            return 0
        self._failed[job] = before, times + 1
        return times + 1
