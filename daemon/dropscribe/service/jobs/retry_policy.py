"""What becomes of a job that did not work out. Pure policy: a decision is returned, the ledger applies it."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.ledger.records import Killed
from dropscribe.ledger.sqlite.jobs.lone_trials import is_last, wait_after

#: First wait before another try, seconds; it doubles with each attempt.
FIRST_WAIT_S = 2.0
#: Longest wait between two tries, seconds.
LONGEST_WAIT_S = 300.0
#: Wait after a fault that is nobody's here (disk full, share away, file rewritten): mending it takes time, seconds.
BLAMELESS_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an attempt ended without a transcript."""

    code: str
    reason: str
    remedy: str = ""
    retryable: bool = False
    #: The fault was not the recording's (engine replaced, disk full): the attempt is not counted.
    blameless: bool = False
    #: It may have brought the engine down: it is tried alone next.
    suspect: bool = False
    #: It was the device that failed, or the engine that hung: a suspect only where `Doubts` are over.
    device: bool = False
    #: Its decoder was killed from outside: it is tried alone next, see `daemon/dropscribe/ledger/sqlite/jobs/lone_trials.py`.
    killed: bool = False


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
    """What was admitted is there no more (removed, rewritten): the job is cancelled, not failed."""


Decision = Again | GiveUp | Drop


def decide(
    problem: Problem, *, attempt: int, max_attempts: int, alone: bool, now: float,
    doubts: int = 0, lone_deaths: int = 0, others_done: bool = False,
) -> Decision:  # fmt: skip
    """What to do after `attempt` (1 for the first) ended with `problem` at `now` (epoch seconds).

    An engine that dies with many recordings in it blames none of them: all are tried again, alone. One
    that dies with a single recording in it blames that one, which so runs out of tries; unless there are
    `doubts` (see `daemon/dropscribe/service/jobs/doubts.py`), which make the wait longer.

    A decoder that is killed from outside costs no try. `lone_deaths`, `others_done`: as in `Claim`.
    """
    if problem.code in {"recording_gone", "recording_changed"}:
        # A mere touch is healed when the file is admitted again, once it has been quiet for long enough. A file that is
        # not there may lie in a folder that was unmounted this instant: it is intake that tells the two apart, and
        # has the job of a removed one cancelled, or that of an unmounted one wait. Content that went is not failed: a failed job would
        # stand for it, and nobody would look at it were it to return.
        if attempt >= max_attempts:
            return Drop()
        return Again(now + BLAMELESS_WAIT_S, refund=False, isolate=False)
    if not problem.retryable:
        return GiveUp()
    if problem.killed:
        if not alone:
            return Again(now, refund=True, isolate=True, killed=Killed.AMONG_OTHERS)
        deaths = lone_deaths + 1
        if is_last(deaths, others_done=others_done):
            return GiveUp()
        return Again(now + wait_after(deaths), refund=True, isolate=True, killed=Killed.ALONE)
    if problem.suspect:
        if not alone:
            return Again(now, refund=True, isolate=True)
        if doubts:
            wait_s = min(LONGEST_WAIT_S, BLAMELESS_WAIT_S * 2 ** (doubts - 1))
            return Again(now + wait_s, refund=True, isolate=True)
        if attempt >= max_attempts:
            return GiveUp()
        return Again(now + _wait(attempt), refund=False, isolate=True)
    if problem.blameless:
        return Again(now + BLAMELESS_WAIT_S, refund=True, isolate=False)
    if attempt >= max_attempts:
        return GiveUp()
    return Again(now + _wait(attempt), refund=False, isolate=False)


def _wait(attempt: int) -> float:
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1)))
