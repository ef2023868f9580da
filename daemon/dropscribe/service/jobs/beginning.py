"""Put on record that recordings begin to be decoded, before their decoders get them.

A recording that kills the daemon, or whatever is killed with it, must be found begun on record by the next daemon; and what
was only claimed must not. So no decoder gets a recording before the commit that says so.
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

#: As many recordings as decoders finished within so many seconds are put on record ahead of an idle decoder, so that none waits
#: for a commit. While recordings take longer than this none is, and a kill makes no waiting recording a suspect.
RECENT_S = 0.25


class Beginning:
    """One commit at a time, for all that begin next, made by a thread that may wait for the disk. Owned by the main thread."""

    def __init__(
        self, ledger: Ledger, thread: Executor, wake: Callable[[], None], *,
        storage_retry: StorageRetry, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """`thread` makes the commits; `wake` is called there when one is made. `clock`: monotonic seconds."""
        self._ledger = ledger
        self._thread = thread
        self._wake = wake
        self._clock = clock
        self._refusal = Refusal(storage_retry, clock)
        #: (job, generation) of what may be given to a decoder.
        self._begun: set[tuple[int, int]] = set()
        self._asked: tuple[list[tuple[int, int]], Future[set[int]]] | None = None
        #: When decoders became idle lately, and how many were idle at the last look.
        self._freed: deque[float] = deque()
        self._idle: int | None = None

    def begun(self, claim: Claim) -> bool:
        """Whether it is on record, so that a decoder may get it."""
        return _key(claim) in self._begun

    def started(self, claim: Claim) -> None:
        """A decoder has got it."""
        self._begun.discard(_key(claim))
        if self._idle is not None:
            self._idle -= 1

    def forget(self, claim: Claim) -> None:
        """It is no longer to be started."""
        self._begun.discard(_key(claim))

    def ask(self, claims: Iterable[Claim], room: int) -> bool:
        """Have the first of `claims` put on record: enough for `room` idle decoders and those about to be idle.

        Called at every turn. Returns False when enough are on record, or while a commit is under way.
        """
        ahead = self._freed_lately(room)
        # Half of them is left when the next commit is asked for: it takes its time.
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
        return max(len(self._freed) - 1, 0)  # a single one says nothing of the next

    def answer(self) -> set[int]:
        """Take in what has been put on record; returns the jobs that are no longer ours.

        Raises what the call raised, but for StorageError: that is told of, and `ask` asks again later.
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
