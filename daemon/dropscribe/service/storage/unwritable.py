"""Hold the jobs of folders into which the daemon may not write transcripts, until it may.

A job is the first to find out: its decoder checks the folder before anything is recognised. From then on all jobs of
recordings in the same folder are held, and the folder is probed until its permissions are changed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.errors import OutputNameError, StorageError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import UNWRITABLE, Claim
from dropscribe.output_places import OutputPlace, require_writable
from dropscribe.pipeline.problem import Problem
from dropscribe.service.publishing.group_facts import Places
from dropscribe.service.publishing.output_plan import outputs_place

#: Interval of probing folders, seconds.
PROBE_S = 5.0
#: Interval of renewing holds, seconds: more jobs of the folder may have been queued meanwhile.
RENEW_S = 5.0
#: Interval of writing the report of such folders anew, seconds.
REPORT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Denied:
    """A folder of recordings whose transcripts may not be written."""

    watched: Path
    place: OutputPlace
    reason: str
    remedy: str


class UnwritableFolders:
    """Owned by the main thread. Probes run on threads of their own, one per watched folder, since they may block."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
        *,
        report: Path | None = None,
        probe: Callable[[OutputPlace], None] = require_writable,
        probe_s: float = PROBE_S,
    ) -> None:
        """`clock`: monotonic seconds, `wall`: epoch seconds. `report`: file that exists while there are such folders and lists
        them; `systemd/dropscribe-share.path` watches it. `probe` raises StorageError while a place cannot be written.
        """
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._report = report
        self._report_at = 0.0
        self._probe = probe
        self._probe_s = probe_s
        self._log = logs.get("service")
        #: By folder of the recordings.
        self._denied: dict[Path, _Denied] = {}
        #: Watched folders of which a previous run may have left jobs on hold.
        self._inherited = {f.path for f in settings().folders}
        self._renew_at = 0.0
        self._lock = threading.Lock()
        #: Watched folder → what its thread probes, by folder of the recordings, and what may be written again.
        self._probing: dict[Path, dict[Path, OutputPlace]] = {}
        self._freed: set[Path] = set()
        self._closed = threading.Event()

    def found(self, claim: Claim, problem: Problem) -> None:
        """Hold the jobs in the folder of this recording from the next `tend` on."""
        folder = claim.path.parent
        if folder not in self._denied:
            logs.problem(
                self._log, logs.Action.STORAGE, f"{problem.reason}; the jobs in {folder} are held",
                remedy=problem.remedy, folder=str(folder),
            )  # fmt: skip
        place = outputs_place(claim, Places(self._settings()))
        self._denied[folder] = _Denied(claim.folder, place, problem.reason, problem.remedy)
        self._renew_at = self._report_at = 0.0
        with self._lock:
            starts = claim.folder not in self._probing
            self._probing.setdefault(claim.folder, {})[folder] = place
        if starts:
            threading.Thread(target=self._run, args=(claim.folder,), name="writable", daemon=True).start()

    def tend(self) -> int:
        """Renew holds, release the jobs of folders that can be written again; returns how many. Raises StorageError."""
        count = 0
        for watched in list(self._inherited):
            count += self._ledger.resume(watched, self._wall(), code=UNWRITABLE)
            self._inherited.discard(watched)
        with self._lock:
            freed = set(self._freed)
        for folder in freed:
            released = self._ledger.resume(folder, self._wall(), code=UNWRITABLE, recursive=False)
            with self._lock:
                self._freed.discard(folder)
            if self._denied.pop(folder, None) is not None:
                self._report_at = 0.0
                message = f"{folder}: transcripts can be written again: {released} jobs go on"
                logs.event(self._log, logs.Action.STORAGE, message, folder=str(folder))
            count += released
        now = self._clock()
        if now >= self._renew_at:
            for folder, denied in self._denied.items():
                self._ledger.hold(
                    folder, self._wall(), reason=denied.reason, remedy=denied.remedy, code=UNWRITABLE,
                    recursive=False,
                )  # fmt: skip
            self._renew_at = now + RENEW_S
        self._write_report(now)
        return count

    def reset(self) -> None:
        """Release all jobs at the next `tend`, because settings have changed; those that cannot be written are found anew."""
        self._inherited = {f.path for f in self._settings().folders} | {
            d.watched for d in self._denied.values()
        }
        self._denied.clear()

    def close(self) -> None:
        self._closed.set()
        if self._report is not None:
            with contextlib.suppress(OSError):
                self._report.unlink(missing_ok=True)

    def _write_report(self, now: float) -> None:
        """Write the report if due. A failure is ignored: log and status have the reason of the jobs."""
        if self._report is None or now < self._report_at:
            return
        self._report_at = now + REPORT_S
        with contextlib.suppress(OSError):
            if not self._denied:
                self._report.unlink(missing_ok=True)
                return
            temporary = self._report.with_name(f".{self._report.name}.tmp")
            # Created anew each time, so that an existing file or link of that name is never written to.
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
                file.write(b"".join(os.fsencode(folder) + b"\n" for folder in self._denied))
            temporary.replace(self._report)

    def _run(self, watched: Path) -> None:
        while not self._closed.wait(self._probe_s):
            with self._lock:
                places = dict(self._probing[watched])
            freed = {folder for folder, place in places.items() if self._is_writable(place)}
            with self._lock:
                self._freed |= freed
                for folder in freed:
                    self._probing[watched].pop(folder, None)
                if not self._probing[watched]:
                    del self._probing[watched]
                    return

    def _is_writable(self, place: OutputPlace) -> bool:
        try:
            self._probe(place)
        except StorageError:
            return False
        except OutputNameError:
            return True  # the job fails by itself
        return True
