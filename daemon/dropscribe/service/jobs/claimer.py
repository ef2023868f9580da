"""Takes jobs from the ledger: when, and how many (`Claiming`), and the call itself, which a thread of its own makes (`Question`).

A claim is a commit, which waits for the disk and for everybody who writes; decoders and engine must not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from dropscribe.errors import StorageError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim
from dropscribe.service.storage.storage_retry import Postponable, Refusal, StorageRetry

#: A claim is ours for so long without a heartbeat, seconds.
LEASE_S = 60.0
#: Without news from the admitter the queue is looked at this often, seconds (jobs whose wait is over).
POLL_S = 1.0
#: Claims in one statement: one commit for many small recordings. Publishing waits for the same disk, so there is none for a few
#: while many are under way.
CLAIM_BATCH = 64


@dataclass(frozen=True, slots=True)
class Clocks:
    """Monotonic seconds for waiting, epoch seconds for the record."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger gave. `claims` None: nothing was claimed, since a job that must be tried alone waits for the others' end."""

    claims: tuple[Claim, ...] | None
    #: When the first job that must be tried alone may be claimed, epoch seconds; None while there is none.
    due: float | None


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be claimed. All that the other thread knows, so that it shares nothing with the main thread."""

    worker: str
    want: int
    #: Epoch seconds when it was asked: what is due, and when leases begin. The clock must not be set before the answer.
    now: float
    #: Nothing is in flight, and nothing will be before the answer.
    alone: bool
    #: As in `Answer`, where it is known.
    due: float | None
    due_known: bool
    #: Jobs we hold, if the record may have us hold more: others are put back first.
    ours: tuple[int, ...] | None

    def put_to(self, ledger: Ledger) -> Answer:
        """Raises StorageError; jobs may be claimed on record nevertheless."""
        due = self.due if self.due_known else ledger.next_isolated()
        isolating = self.isolating(due)
        if isolating and not self.alone:
            return Answer(None, due)
        if self.ours is not None:
            ledger.return_unknown(self.worker, self.ours)
        claims = ledger.claim(self.worker, self.want, self.now, LEASE_S, allow_isolated=isolating)
        return Answer(tuple(claims), due)

    def isolating(self, due: float | None) -> bool:
        """Whether it is the turn of a job that must be tried alone."""
        return due is not None and due <= self.now


@dataclass(frozen=True, slots=True)
class Claimed:
    """Jobs that are ours since `asked_at` (monotonic seconds): so old are their leases."""

    claims: tuple[Claim, ...]
    asked_at: float


class Claimer:
    """One question at a time; what it brings is taken in with `answer`. Until then jobs only end, so that never too many are in
    flight, and none beside one that must be tried alone. Owned by the main thread, but for `news`.
    """

    def __init__(
        self, ledger: Ledger, thread: Executor, wake: Callable[[], None], *, worker: str, limit: int,
        clocks: Clocks, storage_retry: StorageRetry, has_room: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`thread` makes the calls; `wake` is called there when an answer has come. `limit`: most jobs in flight.

        `has_room` is asked right before jobs are claimed: False where there is no room on disk for what comes of them.
        """
        self._ledger = ledger
        self._thread = thread
        self._wake = wake
        self._worker = worker
        self._limit = limit
        #: As many must have come to their end before others are claimed.
        self._least = max(1, min(CLAIM_BATCH // 2, limit // 4))
        self._clocks = clocks
        self._has_room = has_room
        self._refusal = Refusal(storage_retry, clocks.monotonic)
        self._roomy = True
        self._look_for_room = Postponable(storage_retry, self._has_room_now, clocks.monotonic)
        self._asked: tuple[Question, float, Future[Answer]] | None = None
        #: A job that must be tried alone is in flight.
        self.alone = False
        self._news = True
        self._next_poll = 0.0
        #: As in `Answer`, and whether it is still so on record. What becomes news or unknown while a question is open stays so.
        self._due: float | None = None
        self._due_known = False
        #: The last claim was refused; it may stand on record nevertheless.
        self._unsure = False

    def news(self) -> None:
        """There may be something new to claim. From any thread."""
        self._news = True

    def look_again(self) -> None:
        """When a job must be tried alone may have changed on record."""
        self._due_known = False

    def ended(self, claim: Claim) -> None:
        """A job is not in flight any more."""
        if claim.isolate:
            self.alone = False
            self._due_known = False
        self._news = True

    def busy(self) -> bool:
        """Whether the ledger is being asked now."""
        return self._asked is not None and not self._asked[2].done()

    def ask(self, in_flight: int, at_hand: int, ours: Callable[[], Iterable[Claim]]) -> None:
        """Have jobs claimed, if it is time to and none are being claimed. `at_hand`: how many of those in flight have not
        begun; `ours`: all in flight.
        """
        now, room = self._clocks.monotonic(), self._limit - in_flight
        if self._asked is not None or self._refusal.recent():
            return
        if self.alone or room < self._least or at_hand > CLAIM_BATCH // 2:
            return
        if not self._news and now < self._next_poll:
            return
        question = Question(
            self._worker, min(room, CLAIM_BATCH), self._clocks.wall(), in_flight == 0, self._due, self._due_known,
            tuple(c.job_id for c in ours()) if self._unsure else None,
        )  # fmt: skip
        if in_flight and self._due_known and question.isolating(self._due):
            return
        if not self._look_for_room():
            return
        if not self._roomy:
            self._next_poll = now + POLL_S
            return
        self._news = False
        self._due_known = True
        call = self._thread.submit(question.put_to, self._ledger)
        self._asked = question, now, call
        call.add_done_callback(lambda _: self._wake())

    def _has_room_now(self) -> None:
        self._roomy = self._has_room()

    def answer(self) -> Claimed | None:
        """What has been claimed, once; None while there is no answer.

        Raises what the call raised, but for StorageError: that is told of, and the question is asked again later.
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
        self.alone = any(c.isolate for c in answer.claims)
        if question.isolating(answer.due) and not self.alone:
            self._due_known = False
        if len(answer.claims) == question.want or self.alone:
            self._news = True
        self._next_poll = asked_at + POLL_S
        return Claimed(answer.claims, asked_at)

    def last(self) -> tuple[Claim, ...]:
        """For stopping: what an open question brings, waiting for the answer. Raises as `answer` does."""
        if self._asked is not None:
            wait([self._asked[2]])
        claimed = self.answer()
        return () if claimed is None else claimed.claims
