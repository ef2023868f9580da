"""Retry ledger calls while storage fails; results stay in memory until they can be recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dropscribe import logs
from dropscribe.errors import StorageError

#: Retry delay, seconds.
RETRY_S = 1.0

T = TypeVar("T")


class StorageRetry:
    """Retries of ledger calls that storage refuses. Each failure is logged once and is in the status while it lasts.

    Thread-safe. A call that failed changed nothing, so it can be repeated. If a commit was reported as failed but took
    effect, the repeated call gets the result of any late call.
    """

    def __init__(self, retry_s: float = RETRY_S) -> None:
        self._retry_s = retry_s
        self._log = logs.get("service")
        self._giving_up = threading.Event()
        self._lock = threading.Lock()
        #: Operation → number of threads that retry it, and the last error.
        self._refused: dict[str, tuple[int, StorageError]] = {}

    def insist(self, call: Callable[[], T], trying: Callable[[], None] = lambda: None) -> T:
        """Repeat `call` until it succeeds; for threads that may block. `trying` is called before each attempt.

        Raises StorageError after `give_up`, and any other error at once.
        """
        first: StorageError | None = None
        while True:
            trying()
            try:
                done = call()
            except StorageError as e:
                if first is None:
                    first = e
                    self.refused(e)
                if self._giving_up.wait(self._retry_s):
                    raise
            else:
                if first is not None:
                    self.taken(first)
                return done

    def refused(self, error: StorageError) -> None:
        """Note that storage refuses an operation; the caller must call `taken` after its success.

        For threads that must not block.
        """
        with self._lock:
            waiting, _ = self._refused.get(error.operation, (0, error))
            self._refused[error.operation] = (waiting + 1, error)
        if not waiting:
            logs.problem(
                self._log,
                logs.Action.STORAGE,
                f"{error.operation} {error.path}: {error.reason}; it is tried again until it can be done",
                remedy=error.remedy,
            )

    def taken(self, error: StorageError) -> None:
        """Note that the operation that failed with `error` has succeeded."""
        with self._lock:
            waiting, last = self._refused.pop(error.operation)
            if waiting > 1:
                self._refused[error.operation] = (waiting - 1, last)
        if waiting == 1:
            logs.event(
                self._log, logs.Action.STORAGE, f"{error.operation} {error.path}: done, it works again"
            )

    def complaints(self) -> tuple[StorageError, ...]:
        """Last error of each operation that is being retried."""
        with self._lock:
            return tuple(error for _, error in self._refused.values())

    def give_up(self) -> None:
        """Make only one attempt per call from now on; for the shutdown."""
        self._giving_up.set()


class Refusal:
    """Retry state of one operation of a thread that must not block. Owned by that thread."""

    def __init__(self, storage_retry: StorageRetry, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._storage_retry = storage_retry
        self._clock = clock
        self._error: StorageError | None = None
        self._again_at = 0.0

    def recent(self) -> bool:
        """True during the retry delay after a failure."""
        return self._error is not None and self._clock() < self._again_at

    def refused(self, error: StorageError) -> None:
        """Note a failed attempt."""
        self._again_at = self._clock() + RETRY_S
        if self._error is None:
            self._error = error
            self._storage_retry.refused(error)

    def taken(self) -> None:
        """Note that the operation has succeeded."""
        if self._error is not None:
            self._storage_retry.taken(self._error)
            self._error = None


class Postponable:
    """A step that is retried at a later call if storage refuses it, for a thread that must not block.

    Owned by one thread.
    """

    def __init__(
        self, storage_retry: StorageRetry, step: Callable[[], object], clock: Callable[[], float]
    ) -> None:
        """`clock`: monotonic seconds. `step` must be repeatable after it has raised StorageError."""
        self._refusal = Refusal(storage_retry, clock)
        self._step = step

    def __call__(self) -> bool:
        """Run the step unless within the retry delay; returns True if it succeeded."""
        if self._refusal.recent():
            return False
        try:
            self._step()
        except StorageError as e:
            self._refusal.refused(e)
            return False
        self._refusal.taken()
        return True
