"""Claim jobs from the ledger: `Claimer` decides when and how many, `Question` makes the call on another thread.

A claim is a commit, which waits for the disk and for other writers; decoders and engine must not wait for it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dropscribe.errors import StorageError
from dropscribe.ledger.control import NO_TERMS, Terms
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim
from dropscribe.service.storage.storage_retry import Postponable, Refusal, StorageRetry

#: Time for which a claim is valid without a heartbeat, seconds.
LEASE_S = 60.0
#: Interval between claims without a notice of new jobs, seconds: finds jobs whose retry delay has passed.
POLL_S = 1.0
#: Longest wait of a claim for a locked database, seconds: claims come often, so it is noticed soon that it is locked.
WAIT_S = 2.0
#: Most claims in one commit. Publishing waits for the same disk, so no commit is spent on a few claims while many jobs
#: are in flight.
CLAIM_BATCH = 64
#: Fewest jobs claimed ahead, and the window in which started jobs are counted, seconds.
LEAST_AHEAD = 4
RECENT_S = 2.0


class Rules(Protocol):
    """Which folders' jobs may be claimed; implemented by `service/control/folder_rules.py`."""

    def terms(self, in_flight: Iterable[Claim]) -> Terms:
        """Terms of a claim that is made now."""

    def claimed(self, claims: Iterable[Claim]) -> None:
        """Note new claims."""

    def done(self, folder: Path, audio_s: float) -> None:
        """Note a recording whose audio was recognised."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks of the service: monotonic seconds for waiting, epoch seconds for the ledger."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a `Question`. `claims` None: an isolated job is due, and it waits until no other job is in flight."""

    claims: tuple[Claim, ...] | None
    #: Earliest time at which an isolated job may be claimed, epoch seconds; None without isolated jobs.
    due: float | None


@dataclass(frozen=True, slots=True)
class Question:
    """One request for jobs, self-contained so that the calling thread shares no state with the main thread."""

    worker: str
    want: int
    #: Epoch seconds of the request: decides which jobs are due, and leases start here. Clock jumps must not be applied
    #: to the ledger before the answer.
    now: float
    #: No job is in flight, and none will be before the answer.
    alone: bool
    #: As in `Answer`; valid only with `due_known`.
    due: float | None
    due_known: bool
    #: Jobs in flight, after a claim with unknown outcome: other jobs that the ledger has as ours are requeued first.
    ours: tuple[int, ...] | None
    terms: Terms = NO_TERMS

    def put_to(self, ledger: Ledger) -> Answer:
        """Claim jobs. Raises StorageError; the ledger may have recorded claims nevertheless."""
        with ledger.limit_waits(WAIT_S):
            return self._put_to(ledger)

    def _put_to(self, ledger: Ledger) -> Answer:
        due = self.due if self.due_known else ledger.next_isolated(self.terms)
        isolating = self.isolating(due)
        if isolating and not self.alone:
            return Answer(None, due)
        if self.ours is not None:
            ledger.return_unknown(self.worker, self.ours)
        claims = ledger.claim(
            self.worker, self.want, self.now, LEASE_S, allow_isolated=isolating, terms=self.terms
        )
        return Answer(tuple(claims), due)

    def isolating(self, due: float | None) -> bool:
        """Whether an isolated job is due at `now`."""
        return due is not None and due <= self.now


@dataclass(frozen=True, slots=True)
class Claimed:
    """Newly claimed jobs; their leases began at `asked_at` (monotonic seconds)."""

    claims: tuple[Claim, ...]
    asked_at: float


def worker_name(host: str) -> str:
    """The name by which this process claims jobs; `host`: name of this host among several, or ""."""
    process = f"{os.uname().nodename}:{os.getpid()}"
    return f"{host}/{process}" if host else process


class Claimer:
    """Claim jobs with at most one open `Question`, whose result the owner collects with `answer`.

    No job is added to those in flight until then, so `limit` is kept and an isolated job is never in flight with
    others. Owned by the main thread, except `news`.
    """

    def __init__(
        self, ledger: Ledger, thread: Executor, wake: Callable[[], None], *, worker: str, limit: int,
        clocks: Clocks, storage_retry: StorageRetry, has_room: Callable[[], bool], rules: Rules | None = None,
        full: Callable[[], Iterable[Path]] = tuple,
    ) -> None:  # fmt: skip
        """`thread` runs the calls; `wake` is called on it when an answer is there. `limit`: most jobs in flight.

        `has_room` is called right before each claim: False while there is no disk space for the results of new jobs. `rules`:
        terms of each claim; None: the default ones. `full`, called after `has_room`: watched folders of which nothing is
        claimed, because there is no space for their results.
        """
        self._ledger = ledger
        self._thread = thread
        self._wake = wake
        self._worker = worker
        self.allow(limit)
        self._clocks = clocks
        self._has_room = has_room
        self._full = full
        self._rules = rules
        #: Number of jobs claimed so far, and (monotonic seconds, how many of them had been started) of the last `RECENT_S`.
        self._received = 0
        self._started: deque[tuple[float, int]] = deque()
        self._refusal = Refusal(storage_retry, clocks.monotonic)
        self._roomy = True
        self._check_room = Postponable(storage_retry, self._update_room, clocks.monotonic)
        self._asked: tuple[Question, float, Future[Answer]] | None = None
        #: True while an isolated job is in flight.
        self.alone = False
        self._news = True
        self._next_poll = 0.0
        #: As in `Answer`, and whether the ledger still agrees. If `_news` is set or `_due_known` cleared while a
        #: question is open, its answer must not undo that.
        self._due: float | None = None
        self._due_known = False
        #: The last claim failed; the ledger may have recorded it nevertheless.
        self._unsure = False

    def allow(self, limit: int) -> None:
        """Set the most jobs in flight. Those in flight now go on."""
        self._limit = limit
        #: Fewest free places in flight for which jobs are claimed.
        self._least = max(1, min(CLAIM_BATCH // 2, limit // 4))

    def news(self) -> None:
        """Claim at the next `ask`, because new jobs may be queued. Callable from any thread."""
        self._news = True

    def look_again(self) -> None:
        """Read again from the ledger when the next isolated job is due."""
        self._due_known = False

    def ended(self, claim: Claim) -> None:
        """Note that a job is no longer in flight."""
        if claim.isolate:
            self.alone = False
            self._due_known = False
        self._news = True

    def recognised(self, claim: Claim, audio_s: float) -> None:
        """Note how much audio a job had."""
        if self._rules is not None:
            self._rules.done(claim.folder, audio_s)

    def busy(self) -> bool:
        """Whether a call to the ledger is running."""
        return self._asked is not None and not self._asked[2].done()

    def ask(self, in_flight: int, at_hand: int, ours: Callable[[], Iterable[Claim]]) -> None:
        """Submit a claim if one is due and none is open.

        `in_flight`: number of jobs in flight; `at_hand`: those of them not started yet; `ours`: their claims.
        """
        now, room = self._clocks.monotonic(), self._limit - in_flight
        if self._asked is not None or self._refusal.recent():
            return
        ahead = self._ahead(now, at_hand)
        if self.alone or room < self._least or at_hand > ahead // 2:
            return
        if not self._news and now < self._next_poll:
            return
        question = Question(
            self._worker, min(room, ahead), self._clocks.wall(), in_flight == 0, self._due, self._due_known,
            tuple(c.job_id for c in ours()) if self._unsure else None,
            NO_TERMS if self._rules is None else self._rules.terms(ours()),
        )  # fmt: skip
        if in_flight and self._due_known and question.isolating(self._due):
            return
        if not self._check_room():
            return
        if not self._roomy:
            self._next_poll = now + POLL_S
            return
        question = replace(question, terms=question.terms.without(self._full()))
        self._news = False
        self._due_known = True
        call = self._thread.submit(question.put_to, self._ledger)
        self._asked = question, now, call
        call.add_done_callback(lambda _: self._wake())

    def _ahead(self, now: float, at_hand: int) -> int:
        """Most jobs to claim ahead of those that can start: as many as start in some seconds, up to `CLAIM_BATCH`.

        A job that is claimed keeps its place: with a slow engine those of a higher priority, or of another folder, would wait
        behind it for hours.
        """
        self._started.append((now, self._received - at_hand))
        while self._started[0][0] < now - RECENT_S and len(self._started) > 1:
            self._started.popleft()
        recent = self._started[-1][1] - self._started[0][1]
        return min(CLAIM_BATCH, max(LEAST_AHEAD, 2 * recent))

    def _update_room(self) -> None:
        self._roomy = self._has_room()

    def answer(self) -> Claimed | None:
        """Collect the result of a finished claim; None without one.

        Reraises exceptions of the call except StorageError, which is reported and retried by a later `ask`.
        """
        if self._asked is None or not self._asked[2].done():
            return None
        question, asked_at, call = self._asked
        self._asked = None
        try:
            answer = call.result()
        except StorageError as e:
            self._refusal.refused(e)
            self._unsure = self._news = True
            self._due_known = False
            return Claimed((), asked_at)
        self._refusal.taken()
        self._due = answer.due
        if answer.claims is None:
            self._news = True
            return Claimed((), asked_at)
        self._unsure = False
        self._received += len(answer.claims)
        if self._rules is not None:
            self._rules.claimed(answer.claims)
        self.alone = any(c.isolate for c in answer.claims)
        if question.isolating(answer.due) and not self.alone:
            self._due_known = False
        if len(answer.claims) == question.want or self.alone:
            self._news = True
        self._next_poll = asked_at + POLL_S
        return Claimed(answer.claims, asked_at)

    def last(self) -> tuple[Claim, ...]:
        """Wait for an open claim and return its jobs. For stopping. Raises as `answer` does."""
        if self._asked is not None:
            wait([self._asked[2]])
        claimed = self.answer()
        return () if claimed is None else claimed.claims
