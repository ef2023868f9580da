"""The queue of this process's writers, and transactions that several of them share. No SQL.

SQLite has one writer at a time, and each commit waits for the disk. A writer that is done hands its open transaction to
the next one in the queue and waits for its commit: what ten threads write meanwhile takes one wait for the disk.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

#: Longest time from the end of a transaction's first writer until no other one may join it, seconds, and most writers in it.
SHARED_S = 0.02
MOST_WRITERS = 32


class Transaction(Protocol):
    """An open transaction. Used by one thread at a time."""

    def commit(self) -> None:
        """Make it permanent, and end it. Raises what the database raises; it is ended all the same."""

    def rollback(self) -> None:
        """End it as if it had never begun. Raises as `commit` does."""


@dataclass(slots=True, eq=False)
class Shared:
    """A transaction, those who wrote in it and wait for its commit, and how it ended."""

    transaction: Transaction
    writers: int = 0
    #: Time after which nobody may join, monotonic seconds; 0 before the first writer is done.
    until: float = 0.0
    ended: threading.Event = field(default_factory=threading.Event)
    #: Why it was not committed; valid after `ended`.
    error: BaseException | None = None

    def end(self) -> None:
        """Commit what its writers wrote, if there are any, and let them go on. Never raises: see `error`."""
        try:
            if self.writers and self.error is None:
                self.transaction.commit()
            else:
                self.transaction.rollback()
        except BaseException as e:
            self.error = self.error or e
        finally:
            self.ended.set()


@dataclass(slots=True, eq=False)
class _Turn:
    """A writer in the queue."""

    shares: bool
    granted: threading.Event = field(default_factory=threading.Event)
    shared: Shared | None = None


class WriteQueue:
    """Writers in order of arrival. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[_Turn] = deque()

    def take(self, timeout_s: float, *, shares: bool) -> tuple[bool, Shared | None]:
        """Wait for the turn: whether it came, and the transaction to write in if the writer before has handed one over.

        `timeout_s`: without end if negative. `shares`: this writer may get another one's transaction.
        """
        with self._lock:
            if not self._taken:
                self._taken = True
                return True, None
            turn = _Turn(shares)
            self._waiting.append(turn)
        turn.granted.wait(None if timeout_s < 0 else timeout_s)
        with self._lock:
            if not turn.granted.is_set():
                self._waiting.remove(turn)
                return False, None
        return True, turn.shared

    def hand_over(self, shared: Shared) -> bool:
        """Give the turn and the open transaction to the next writer; False if there is none, or none may join."""
        now = self._clock()
        shared.until = shared.until or now + SHARED_S
        with self._lock:
            full = shared.writers >= MOST_WRITERS or now > shared.until
            if full or not self._waiting or not self._waiting[0].shares:
                return False
            following = self._waiting.popleft()
            following.shared = shared
            following.granted.set()
        return True

    def release(self) -> None:
        """Give the turn to the next writer, which begins a transaction of its own."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().granted.set()
            else:
                self._taken = False
