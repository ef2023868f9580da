"""Reports file systems that do not answer, and has the jobs of their folders wait until they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import HANGS
from dropscribe.service.activity import INTAKE_STUCK_S, Activities, Waiting
from dropscribe.service.status_file import Complaint

#: Held jobs are told to wait again this often, seconds: others come back to the queue meanwhile.
RENEW_S = 5.0
_REMEDY = "see to the disk or the network share; work there goes on by itself when there is an answer"


class StorageHangs:
    """Owned by the main thread."""

    def __init__(
        self,
        ledger: Ledger,
        activities: Activities,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
    ) -> None:
        """`clock`: monotonic seconds."""
        self._ledger = ledger
        self._activities = activities
        self._settings = settings
        self._clock = clock
        self._log = logs.get("service")
        #: What hangs, the oldest call of each room and folder.
        self._hangs: dict[tuple[str, Path], Waiting] = {}
        #: Watched folders whose jobs may have been told to wait, also by the daemon before this one.
        self._held = {f.path for f in settings().folders}
        self._renew_at = 0.0
        self._stuck: list[str] = []

    def look(self, intake: Callable[[float, float], list[int]] = lambda _now, _seconds: []) -> bool:
        """Find out and log what began to hang and what answers again. False when a thread is stuck that waits for no file system:
        then the service manager must hear no keep-alive.

        `intake`: its threads without progress (see `Watcher.silent_threads`).
        """
        now = self._clock()
        found: dict[tuple[str, Path], Waiting] = {}
        for waiting in self._activities.hangs(now):
            found.setdefault((waiting.room, waiting.folder), waiting)
        for key in found.keys() - self._hangs.keys():
            self._renew_at = 0.0
            logs.problem(self._log, logs.Action.STORAGE, self._words(found[key]).problem, remedy=_REMEDY)
        for room, folder in self._hangs.keys() - found.keys():
            logs.event(self._log, logs.Action.STORAGE, f"{room}: the file system of {folder} answers again")
        self._hangs = found
        stuck = self._activities.stuck(now, intake(now, INTAKE_STUCK_S))
        for room in set(stuck) - set(self._stuck):
            logs.problem(
                self._log, logs.Action.STORAGE,
                f"{room}: a thread makes no progress; the watchdog of the service manager ends the daemon",
                remedy="restart the daemon if it is not restarted by itself, and report the traceback in the log",
            )  # fmt: skip
        self._stuck = stuck
        return not stuck

    def complaints(self) -> list[Complaint]:
        """What hangs or is stuck now, for a person."""
        stuck = [
            Complaint(
                f"{room}: a thread makes no progress", "restart the daemon, and report what its log says"
            )
            for room in self._stuck
        ]
        return [*stuck, *(self._words(w) for w in self._hangs.values())]

    def tend(self) -> int:
        """Have the jobs of folders that hang wait, and those of folders that answer go on; how many go on. Raises StorageError."""
        now = self._clock()
        if now < self._renew_at:
            return 0
        settings = self._settings()
        by_place = {folder: waiting for (_, folder), waiting in self._hangs.items()}
        hanging: dict[Path, Waiting] = {}
        for folder in settings.folders:
            target = settings.profile(folder.profile).output_dir or folder.path
            waiting = by_place.get(folder.path) or by_place.get(target)
            if waiting is not None:
                hanging[folder.path] = waiting
        for path, waiting in hanging.items():
            self._held.add(path)
            said = self._words(waiting)
            self._ledger.hold(path, time.time(), reason=said.problem, remedy=said.remedy, code=HANGS)
        count = 0
        for path in self._held - hanging.keys():
            count += self._ledger.resume(path, time.time(), code=HANGS)
            self._held.discard(path)
        self._renew_at = now + RENEW_S
        return count

    def _words(self, waiting: Waiting) -> Complaint:
        for_s = self._clock() - waiting.since
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - for_s))
        what = f"{waiting.folder}: its file system has not answered since {since}"
        return Complaint(f"{what} ({waiting.room}: {waiting.action} {waiting.path})", _REMEDY)
