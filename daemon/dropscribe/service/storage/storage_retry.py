"""Retry ledger calls while storage fails; results stay in memory until they can be recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dropscribe import logs
from dropscribe.errors import DatabaseLockedError, StorageError

#: Retry delay, seconds.
RETRY_S = 1.0
#: Time for which the database must have been locked before that is reported, seconds: a slow commit is no fault.
LOCK_NOTICE_S = 5.0
#: Key of all operations that wait for the lock of the database.
_LOCK = "lock"

T = TypeVar("T")


class StorageRetry:
    """Retries of ledger calls that storage refuses. Each failure is logged once and is in the status while it lasts.

    Calls that wait for the lock of the database count as one failure, reported if it lasts.

    Thread-safe. A call that failed changed nothing, so it can be repeated. If a commit was reported as failed but took
    effect, the repeated call gets the result of any late call.
    """

    def __init__(
        self,
        retry_s: float = RETRY_S,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: monotonic seconds. `wall`: epoch seconds."""
        self._retry_s = retry_s
        self._clock = clock
        self._wall = wall
        self._log = logs.get("service")
        self._giving_up = threading.Event()
        self._lock = threading.Lock()
        #: Operation, or `_LOCK` → number of threads that retry it, and the last error.
        self._refused: dict[str, tuple[int, StorageError]] = {}
        #: When the database was first found locked (monotonic and epoch seconds), and whether that was logged.
        self._locked_at = (0.0, 0.0)
        self._lock_logged = False

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
        key = _key(error)
        with self._lock:
            waiting, _ = self._refused.get(key, (0, error))
            self._refused[key] = (waiting + 1, error)
            if key == _LOCK and not waiting:
                self._locked_at = (self._clock(), self._wall())
                self._lock_logged = False
        if not waiting and key != _LOCK:
            logs.problem(
                self._log,
                logs.Action.STORAGE,
                f"{error.operation} {error.path}: {error.reason}; it is tried again until it can be done",
                remedy=error.remedy,
            )

    def taken(self, error: StorageError) -> None:
        """Note that the operation that failed with `error` has succeeded."""
        key = _key(error)
        with self._lock:
            waiting, last = self._refused.pop(key)
            if waiting > 1:
                self._refused[key] = (waiting - 1, last)
            message = f"{error.operation} {error.path}: done, it works again"
            if key == _LOCK:
                for_s = self._clock() - self._locked_at[0]
                message = f"{error.path}: not locked any more, after {for_s:.0f} s"
            silent = waiting > 1 or (key == _LOCK and not self._lock_logged)
        if not silent:
            logs.event(self._log, logs.Action.STORAGE, message)

    def tend(self) -> None:
        """Log that the database is locked once that has lasted `LOCK_NOTICE_S`; call it periodically."""
        with self._lock:
            error = self._lasting_lock()
            if error is None or self._lock_logged:
                return
            self._lock_logged = True
        logs.problem(
            self._log, logs.Action.STORAGE, f"{error.path}: {error.reason}; work goes on when it is free",
            remedy=error.remedy,
        )  # fmt: skip

    def complaints(self) -> tuple[StorageError, ...]:
        """Last error of each operation that is being retried."""
        with self._lock:
            errors = [error for key, (_, error) in self._refused.items() if key != _LOCK]
            locked = self._lasting_lock()
        return tuple(errors) if locked is None else (*errors, locked)

    def _lasting_lock(self) -> StorageError | None:
        """The error to report about a locked database, with the time since; None unless that has lasted."""
        _, error = self._refused.get(_LOCK, (0, None))
        at, wall = self._locked_at
        if error is None or self._clock() - at < LOCK_NOTICE_S:
            return None
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
        return StorageError(
            f"{error.reason}, since {since}", operation="use", path=error.path, remedy=error.remedy
        )

    def give_up(self) -> None:
        """Make only one attempt per call from now on; for the shutdown."""
        self._giving_up.set()


def _key(error: StorageError) -> str:
    return _LOCK if isinstance(error, DatabaseLockedError) else error.operation or ""


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
