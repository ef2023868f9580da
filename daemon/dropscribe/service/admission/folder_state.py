"""What the service does about the condition of its folders: says it, and has the jobs of those that are away wait."""

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

#: Jobs that came back to the queue of a folder that is away are told to wait this often, seconds.
RENEW_S = 5.0


class FolderConditions:
    """Thread-safe: folders report from their own threads."""

    def __init__(self, ledger: Ledger, folders: Collection[Path]) -> None:
        """`folders`: those of the start."""
        self._ledger = ledger
        self._log = logs.get("service")
        self._lock = threading.Lock()
        #: Folders nothing can be said of now.
        self._away: dict[Path, FolderHealth] = {}
        #: Folders of the start that nothing was heard of yet.
        self._unheard = set(folders)
        self._taken: FolderHealth | None = None
        #: Folders that are back, whose jobs could not be told yet.
        self._back: set[Path] = set()
        self._renew_at = 0.0

    def take(self, health: FolderHealth) -> None:
        """A folder is in this condition from now on."""
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
            if health.state is not FolderState.WATCHED:
                self._away[health.folder] = health
                self._hold(health)
            elif was_away:
                self._resume(health.folder)

    def keep(self, folders: set[Path]) -> None:
        """Only these are watched from now on. Jobs of others run into what they find: nobody will say that they are back."""
        with self._lock:
            for folder in self._away.keys() - folders:
                del self._away[folder]
                self._resume(folder)

    def tend(self, now: float) -> None:
        """To be called now and then; `now` is monotonic seconds."""
        if now >= self._renew_at:
            self._renew_at = now + RENEW_S
            with self._lock:
                for health in self._away.values():
                    self._hold(health)
                for folder in list(self._back - self._away.keys()):
                    self._resume(folder)

    def renew(self) -> None:
        """Jobs may have been told to go on for another reason: those of folders that are away shall not."""
        self._renew_at = 0.0

    def refuse_taken(self) -> None:
        """Raises AlreadyRunningError when the first that was heard of a folder of the start is that another daemon watches it.

        What comes later is that folder's trouble alone: those that are served already shall not suffer from it.
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
        # Refused by storage: `tend` does it again. Who claims jobs meets the same, says it, and claims none.
        # A ledger that cannot be used any more ends the daemon, in the main thread.
        with contextlib.suppress(StorageError, UnusableLedgerError):
            self._ledger.hold(health.folder, time.time(), reason=reason, remedy=health.remedy)

    def _resume(self, folder: Path) -> None:
        self._back.add(folder)
        with contextlib.suppress(StorageError, UnusableLedgerError):
            count = self._ledger.resume(folder, time.time())
            self._back.discard(folder)
            if count:
                message = f"{folder} is there again: {count} jobs go on"
                logs.event(self._log, logs.Action.FOLDER, message, folder=str(folder))
