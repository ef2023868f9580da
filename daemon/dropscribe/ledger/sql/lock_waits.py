"""How long calls wait for the lock of the database: limits by thread, and a limit for all when the daemon stops."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dropscribe.errors import DatabaseLockedError

#: Longest wait of a call for another writer, seconds. Our writers hold the lock for milliseconds; only a backup or an open
#: transaction of another program takes longer.
WAIT_S = 10.0
#: The same for all threads after `hurry`, seconds.
HURRY_S = 3.0

_REMEDY = "close the program that holds a transaction open on the database"


class LockWaits:
    """Limits of the waits of one database. Thread-safe.

    A thread with a limit of its own that has waited in vain does not wait at all until one of its calls succeeds: many
    calls together would exceed the limit many times over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Per thread: `limit_s`, its own limit, and `vain`, True after a wait in vain.
        self._local = threading.local()
        self._hurry = False
        #: Since when another process has had the lock, monotonic seconds; None while none is known to.
        self._foreign_since: float | None = None

    @contextlib.contextmanager
    def limited(self, limit_s: float) -> Iterator[None]:
        """Limit the waits of this thread within the block."""
        before = getattr(self._local, "limit_s", None)
        self._local.limit_s = limit_s
        try:
            yield
        finally:
            self._local.limit_s = before

    def hurry(self) -> None:
        """Limit all waits from now on, also those under way."""
        self._hurry = True

    @property
    def is_limited(self) -> bool:
        """True if this thread has a limit of its own."""
        return getattr(self._local, "limit_s", None) is not None

    def limit_s(self) -> float:
        """Longest wait of a call of this thread, seconds; may shrink during the call."""
        own = getattr(self._local, "limit_s", None)
        if own is not None and getattr(self._local, "vain", False):
            own = 0.0
        return min(WAIT_S if own is None else own, HURRY_S if self._hurry else WAIT_S)

    def refused(self, *, foreign: bool) -> None:
        """Note that the lock could not be had. `foreign`: another process has it."""
        if foreign and self._foreign_since is None:
            self._foreign_since = self._clock()

    def had(self) -> None:
        """Note that this thread has the lock."""
        self._foreign_since = None
        self._local.vain = False

    def error(self, path: Path, operation: str) -> DatabaseLockedError:
        """Error of a call that has waited in vain."""
        self._local.vain = True
        if self._foreign_since is not None:
            return DatabaseLockedError(
                "it is locked by another process", operation=operation, path=path, remedy=_REMEDY
            )
        return DatabaseLockedError(
            "another write of this process takes long", operation=operation, path=path,
            remedy="check the disk of the database if this lasts",
        )  # fmt: skip
