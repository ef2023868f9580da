"""Record the start of decoding in the ledger before a decoder gets the recording.

After a crash the next daemon must be able to tell recordings that were being decoded (suspects) from recordings that
were only claimed. Therefore no decoder gets a recording before its start is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from itertools import islice

from dropscribe.errors import StorageError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim
from dropscribe.service.storage.storage_retry import Refusal, StorageRetry

#: Window of recent decoder completions, seconds. About as many starts as decoders finished within it are committed in
#: advance, so that no decoder waits for a commit. With recordings that take longer, none is committed in advance, and
#: a crash makes no waiting recording a suspect.
RECENT_S = 0.25


class Beginning:
    """Commit the starts of the next jobs, one commit at a time, on another thread. Owned by the main thread."""

    def __init__(
        self, ledger: Ledger, thread: Executor, wake: Callable[[], None], *,
        storage_retry: StorageRetry, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """`thread` runs the commits; `wake` is called on it after each. `clock`: monotonic seconds."""
        self._ledger = ledger
        self._thread = thread
        self._wake = wake
        self._clock = clock
        self._refusal = Refusal(storage_retry, clock)
        #: (job, generation) of jobs whose start is committed and that no decoder has yet.
        self._begun: set[tuple[int, int]] = set()
        self._asked: tuple[list[tuple[int, int]], Future[set[int]]] | None = None
        #: Times at which decoders became idle (monotonic seconds), and the number idle at the latest `ask`.
        self._freed: deque[float] = deque()
        self._idle: int | None = None

    def begun(self, claim: Claim) -> bool:
        """Whether the start of this job is committed, so that a decoder may get it."""
        return _key(claim) in self._begun

    def started(self, claim: Claim) -> None:
        """Note that a decoder got this job."""
        self._begun.discard(_key(claim))
        if self._idle is not None:
            self._idle -= 1

    def forget(self, claim: Claim) -> None:
        """Discard a job that will not be started."""
        self._begun.discard(_key(claim))

    def ask(self, claims: Iterable[Claim], room: int) -> bool:
        """Submit a commit of the starts of the first `claims`, for `room` idle decoders and those about to be idle.

        Call it at every turn. Returns False when enough starts are committed, while a commit is under way, while
        backing off after a storage failure, or without jobs to start.
        """
        ahead = self._freed_lately(room)
        # The next commit is submitted while half of the advance is left, because a commit takes time.
        if self._asked is not None or len(self._begun) >= room + (ahead + 1) // 2 or self._refusal.recent():
            return False
        want = room + ahead - len(self._begun)
        keys = list(islice((_key(c) for c in claims if not self.begun(c)), want))
        if keys:
            call = self._thread.submit(self._ledger.begin, keys)
            self._asked = keys, call
            call.add_done_callback(lambda _: self._wake())
        return bool(keys)

    def _freed_lately(self, idle: int) -> int:
        now = self._clock()
        if self._idle is not None:
            self._freed.extend([now] * (idle - self._idle))
        self._idle = idle
        while self._freed and self._freed[0] < now - RECENT_S:
            self._freed.popleft()
        return max(len(self._freed) - 1, 0)  # a single completion does not predict the next

    def answer(self) -> set[int]:
        """Apply a finished commit; returns the jobs whose claim was lost.

        Reraises exceptions of the commit except StorageError, which is reported and retried by a later `ask`.
        """
        if self._asked is None or not self._asked[1].done():
            return set()
        keys, call = self._asked
        self._asked = None
        try:
            lost = call.result()
        except StorageError as e:
            self._refusal.refused(e)
            return set()
        self._refusal.taken()
        self._begun.update(key for key in keys if key[0] not in lost)
        return lost


def _key(claim: Claim) -> tuple[int, int]:
    return claim.job_id, claim.generation
