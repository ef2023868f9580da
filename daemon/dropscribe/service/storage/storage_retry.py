"""A ledger that storage refuses is waited for, not given up: what is known stays in memory until it can be put on record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dropscribe import logs
from dropscribe.errors import StorageError

#: Pause before a call that failed is made again, seconds.
RETRY_S = 1.0

T = TypeVar("T")


class StorageRetry:
    """What the disk of the database refuses just now: said once in the log, and in the status as long as it lasts.

    Thread-safe. A call that failed left nothing on record, so it may be made again as it was; one whose commit was
    refused after all and stands nevertheless is answered, when it is made again, as any late one is.
    """

    def __init__(self, retry_s: float = RETRY_S) -> None:
        self._retry_s = retry_s
        self._log = logs.get("service")
        self._giving_up = threading.Event()
        self._lock = threading.Lock()
        #: By what was to be done: how many threads wait to do it, and what they were told last.
        self._refused: dict[str, tuple[int, StorageError]] = {}

    def insist(self, call: Callable[[], T], trying: Callable[[], None] = lambda: None) -> T:
        """Make `call` until storage takes it. For threads that may wait. `trying` is called before each time.

        Raises the StorageError when it is refused after `give_up`; every other error at once.
        """
        told: StorageError | None = None
        while True:
            trying()
            try:
                done = call()
            except StorageError as e:
                if told is None:
                    told = e
                    self.refused(e)
                if self._giving_up.wait(self._retry_s):
                    raise
            else:
                if told is not None:
                    self.taken(told)
                return done

    def refused(self, error: StorageError) -> None:
        """Storage refuses what `error` names; `taken` must follow when it no longer does. For those that cannot wait."""
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

    def taken(self, told: StorageError) -> None:
        """What was refused with `told` has been done."""
        with self._lock:
            waiting, last = self._refused.pop(told.operation)
            if waiting > 1:
                self._refused[told.operation] = (waiting - 1, last)
        if waiting == 1:
            logs.event(self._log, logs.Action.STORAGE, f"{told.operation} {told.path}: done, it works again")

    def complaints(self) -> tuple[StorageError, ...]:
        """What is refused now."""
        with self._lock:
            return tuple(error for _, error in self._refused.values())

    def give_up(self) -> None:
        """The daemon stops: from now on every call is made once."""
        self._giving_up.set()


class Refusal:
    """Whether storage refuses one thing that a thread does which must not wait. Owned by that thread."""

    def __init__(self, storage_retry: StorageRetry, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._storage_retry = storage_retry
        self._clock = clock
        self._told: StorageError | None = None
        self._again_at = 0.0

    def recent(self) -> bool:
        """It was refused just now, so it is not to be tried again yet."""
        return self._told is not None and self._clock() < self._again_at

    def refused(self, error: StorageError) -> None:
        """It was tried in vain."""
        self._again_at = self._clock() + RETRY_S
        if self._told is None:
            self._told = error
            self._storage_retry.refused(error)

    def taken(self) -> None:
        """It has been done."""
        if self._told is not None:
            self._storage_retry.taken(self._told)
            self._told = None


class Postponable:
    """A step of a thread that must not wait: when storage refuses it, it is made again at a later call.

    Owned by one thread.
    """

    def __init__(
        self, storage_retry: StorageRetry, step: Callable[[], object], clock: Callable[[], float]
    ) -> None:
        """`clock`: monotonic seconds. `step` must leave what it was to do to be done again when it raises."""
        self._refusal = Refusal(storage_retry, clock)
        self._step = step

    def __call__(self) -> bool:
        """Make the step, unless it was refused just now; whether it has been made."""
        if self._refusal.recent():
            return False
        try:
            self._step()
        except StorageError as e:
            self._refusal.refused(e)
            return False
        self._refusal.taken()
        return True
