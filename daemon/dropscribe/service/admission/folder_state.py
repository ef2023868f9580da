"""Log changes in the health of watched folders, and hold the jobs of folders that are away."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection
from pathlib import Path

from dropscribe import logs
from dropscribe.errors import AlreadyRunningError, StorageError, UnusableLedgerError
from dropscribe.intake.types import FolderHealth, FolderState
from dropscribe.ledger.interface import Ledger

#: Interval of renewing holds, seconds: jobs of a folder that is away may have been requeued meanwhile.
RENEW_S = 5.0
#: Longest wait for a locked database, seconds: the folder's thread must not seem to hang.
WAIT_S = 0.5


class FolderConditions:
    """Health of the watched folders, and holds on the jobs of those that are away.

    Thread-safe: the threads of the folders call `take`.
    """

    def __init__(self, ledger: Ledger, folders: Collection[Path]) -> None:
        """`folders`: folders watched at the start of the daemon."""
        self._ledger = ledger
        self._log = logs.get("service")
        self._lock = threading.Lock()
        #: Folders that are not being watched (away, or taken by another daemon).
        self._away: dict[Path, FolderHealth] = {}
        #: Folders whose latest report was that they are there.
        self._watched: set[Path] = set()
        #: Folders of the start without a report yet.
        self._unheard = set(folders)
        #: First report of a folder of the start that was `TAKEN`.
        self._taken: FolderHealth | None = None
        #: Folders that are watched again, whose jobs could not be released yet because storage failed.
        self._back: set[Path] = set()
        self._renew_at = 0.0
        #: Folders to keep at the next `tend`, after a reload.
        self._kept: set[Path] | None = None

    def take(self, health: FolderHealth) -> None:
        """Apply a new state of a folder: log it, and hold or release its jobs."""
        keys = {"folder": str(health.folder)}
        if health.problem is None:
            message = f"watching {health.folder} by {health.backend}"
            logs.event(self._log, logs.Action.FOLDER, message, **keys)
        else:
            message = f"{health.folder}: {health.problem}; {health.remedy}"
            logs.problem(self._log, logs.Action.FOLDER, message, **keys)
        with self._lock:
            was_away = self._away.pop(health.folder, None) is not None
            first = health.folder in self._unheard
            self._unheard.discard(health.folder)
            if first and health.state is FolderState.TAKEN and self._taken is None:
                self._taken = health
            if health.state is FolderState.WATCHED:
                self._watched.add(health.folder)
            else:
                self._watched.discard(health.folder)
            if health.state is not FolderState.WATCHED:
                self._away[health.folder] = health
                self._hold(health)
            elif was_away:
                self._resume(health.folder)

    def is_watched(self, folder: Path) -> bool:
        """True if what is missing in a folder was removed from it: its disk is there."""
        with self._lock:
            return folder in self._watched

    def keep(self, folders: set[Path]) -> None:
        """Drop folders that are no longer watched at the next `tend`, and release their jobs.

        No report would ever release them.
        """
        self._kept = folders
        self._renew_at = 0.0

    def tend(self, now: float) -> None:
        """Renew holds and retry failed releases if due at `now` (monotonic seconds); call it periodically."""
        if now < self._renew_at or not self._lock.acquire(blocking=False):
            # A thread that reports a folder may be waiting for the database.
            return
        try:
            self._renew_at = now + RENEW_S
            if self._kept is not None:
                dropped, self._kept = self._away.keys() - self._kept, None
                for folder in dropped:
                    del self._away[folder]
                    self._resume(folder)
            for health in self._away.values():
                self._hold(health)
            for folder in list(self._back - self._away.keys()):
                self._resume(folder)
        finally:
            self._lock.release()

    def renew(self) -> None:
        """Renew holds at the next `tend`, because jobs of folders that are away may have been released otherwise."""
        self._renew_at = 0.0

    def refuse_taken(self) -> None:
        """Raise AlreadyRunningError if the first report of a folder of the start was that another daemon watches it.

        A folder that is taken later affects only itself, since the daemon is already serving the others.
        """
        if self._taken is not None:
            raise AlreadyRunningError(
                self._taken.problem or "",
                operation="watch",
                path=self._taken.folder,
                remedy=self._taken.remedy,
            )

    def _hold(self, health: FolderHealth) -> None:
        reason = f"{health.folder}: {health.problem}"
        # After a storage failure `tend` repeats the call. Claims fail, too, and report it, so no job slips through.
        # The main thread stops the daemon when the ledger is unusable.
        with contextlib.suppress(StorageError, UnusableLedgerError), self._ledger.limit_waits(WAIT_S):
            self._ledger.hold(health.folder, time.time(), reason=reason, remedy=health.remedy)

    def _resume(self, folder: Path) -> None:
        self._back.add(folder)
        with contextlib.suppress(StorageError, UnusableLedgerError), self._ledger.limit_waits(WAIT_S):
            count = self._ledger.resume(folder, time.time())
            self._back.discard(folder)
            if count:
                message = f"{folder} is there again: {count} jobs go on"
                logs.event(self._log, logs.Action.FOLDER, message, folder=str(folder))
