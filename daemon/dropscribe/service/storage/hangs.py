"""Report file systems that do not respond, and hold the jobs of their folders until they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import HANGS
from dropscribe.service.activity import INTAKE_STUCK_S, Activities, Waiting
from dropscribe.service.monitoring.status_file import Complaint

#: Interval of renewing holds, seconds: more jobs of the folder may have been queued meanwhile.
RENEW_S = 5.0
_REMEDY = "check the disk or the network share; work there resumes when it responds"


class StorageHangs:
    """Monitor of calls to file systems. Owned by the main thread."""

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
        #: Oldest hanging call of each room and folder.
        self._hangs: dict[tuple[str, Path], Waiting] = {}
        #: Watched folders whose jobs may be on hold, also from a previous run of the daemon.
        self._held = {f.path for f in settings().folders}
        self._renew_at = 0.0
        self._stuck: list[str] = []

    def check(self, intake: Callable[[float, float], list[int]] = lambda _now, _seconds: []) -> bool:
        """Detect and log calls that started to hang and file systems that respond again.

        Returns False if a thread is stuck elsewhere than in a file system call: the caller must then send no keep-alive
        to the service manager. `intake`: intake's threads without progress (see `Watcher.silent_threads`).
        """
        now = self._clock()
        found: dict[tuple[str, Path], Waiting] = {}
        for waiting in self._activities.hangs(now):
            found.setdefault((waiting.room, waiting.folder), waiting)
        for key in found.keys() - self._hangs.keys():
            self._renew_at = 0.0
            logs.problem(self._log, logs.Action.STORAGE, self._complaint(found[key]).problem, remedy=_REMEDY)
        for room, folder in self._hangs.keys() - found.keys():
            logs.event(self._log, logs.Action.STORAGE, f"{folder}: its file system responds again ({room})")
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
        """Hanging calls and stuck threads, for the status."""
        stuck = [
            Complaint(
                f"{room}: a thread makes no progress", "restart the daemon, and report what its log says"
            )
            for room in self._stuck
        ]
        return [*stuck, *(self._complaint(w) for w in self._hangs.values())]

    def tend(self) -> int:
        """Hold jobs of folders that hang, release those of folders that respond; returns the number released.

        Raises StorageError.
        """
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
            complaint = self._complaint(waiting)
            self._ledger.hold(
                path, time.time(), reason=complaint.problem, remedy=complaint.remedy, code=HANGS
            )
        count = 0
        for path in self._held - hanging.keys():
            count += self._ledger.resume(path, time.time(), code=HANGS)
            self._held.discard(path)
        self._renew_at = now + RENEW_S
        return count

    def _complaint(self, waiting: Waiting) -> Complaint:
        for_s = self._clock() - waiting.since
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - for_s))
        what = f"{waiting.folder}: its file system has not answered since {since}"
        return Complaint(f"{what} ({waiting.room}: {waiting.action} {waiting.path})", _REMEDY)
