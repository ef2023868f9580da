"""Hold the jobs of folders whose models cannot be loaded, and try again later.

A job is the first to find out. From then on all jobs of its watched folder are held, since they have the same profile;
folders of other profiles are not affected. After a while the jobs are released, and the first one tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import MODEL, Claim
from dropscribe.pipeline.problem import Problem

#: Time after which the jobs of such a folder are tried again, seconds; it doubles each time, up to the longest.
RETRY_S = 70.0
LONGEST_RETRY_S = 600.0
#: Interval of renewing holds, seconds: more jobs of the folder may have been queued meanwhile.
RENEW_S = 5.0


@dataclass(slots=True)
class _Unusable:
    """A watched folder whose models cannot be loaded."""

    reason: str
    remedy: str
    due: float  #: monotonic seconds
    tries: int
    held: bool = True  #: False while its jobs are being tried again


class UnusableModels:
    """Owned by the main thread."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: monotonic seconds, `wall`: epoch seconds."""
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._log = logs.get("service")
        self._folders: dict[Path, _Unusable] = {}
        #: Watched folders whose jobs are to be released: a previous run may have held them, or settings have changed.
        self._released = {f.path for f in settings().folders}
        self._renew_at = 0.0

    def found(self, claim: Claim, problem: Problem) -> None:
        """Hold the jobs of the folder of this recording from the next `tend` on."""
        before = self._folders.get(claim.folder)
        if before is not None and before.held:
            return
        if before is None or before.reason != problem.reason:
            logs.problem(
                self._log, logs.Action.ENGINE, f"{problem.reason}; the jobs in {claim.folder} are held",
                remedy=problem.remedy, folder=str(claim.folder),
            )  # fmt: skip
        tries = 0 if before is None else before.tries + 1
        wait_s = min(LONGEST_RETRY_S, RETRY_S * 2**tries)
        self._folders[claim.folder] = _Unusable(problem.reason, problem.remedy, self._clock() + wait_s, tries)
        self._renew_at = 0.0

    def usable(self, folder: Path) -> None:
        """Note that a recording of this watched folder was recognised."""
        self._folders.pop(folder, None)

    def tend(self) -> int:
        """Renew holds, release jobs that are to be tried again; returns how many. Raises StorageError."""
        count = 0
        for folder in list(self._released):
            count += self._ledger.resume(folder, self._wall(), code=MODEL)
            self._released.discard(folder)
        now = self._clock()
        for folder, one in self._folders.items():
            if one.held and now >= one.due:
                count += self._ledger.resume(folder, self._wall(), code=MODEL)
                one.held = False
        if now >= self._renew_at:
            for folder, one in self._folders.items():
                if one.held:
                    self._ledger.hold(folder, self._wall(), reason=one.reason, remedy=one.remedy, code=MODEL)
            self._renew_at = now + RENEW_S
        return count

    def reset(self) -> None:
        """Release all jobs at the next `tend`, because settings have changed."""
        self._released = {f.path for f in self._settings().folders} | set(self._folders)
        self._folders.clear()
