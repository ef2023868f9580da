"""What the ledger is told between two turns of the main loop, whether or not there is work."""

from __future__ import annotations

from collections.abc import Callable

from dropscribe import logs
from dropscribe.ledger.interface import Ledger
from dropscribe.service.admission.folder_state import FolderConditions
from dropscribe.service.storage.disk_space import FreeSpace
from dropscribe.service.storage.hangs import StorageHangs
from dropscribe.service.storage.storage_retry import Postponable, StorageRetry
from dropscribe.service.wall_clock import WallClock


class Maintenance:
    """Owned by the thread that has jobs claimed, and idle while they are: no claim sees waits and leases of one clock and the
    time of another, or jobs that one reason to wait has left and the next has not reached.
    """

    def __init__(
        self, ledger: Ledger, wall: WallClock, space: FreeSpace, conditions: FolderConditions,
        hangs: StorageHangs, *,
        storage_retry: StorageRetry, clock: Callable[[], float], wake: Callable[[], None], claiming: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`clock`: monotonic seconds. `wake`: there may be something new to claim. `claiming`: jobs are being claimed now."""
        self._ledger = ledger
        self._wall = wall
        self._space = space
        self._hangs = hangs
        self._conditions = conditions
        self._clock = clock
        self._wake = wake
        self._claiming = claiming
        self._log = logs.get("service")
        #: What the clock was set by and the ledger was not told of yet, seconds.
        self._jump = 0.0
        #: Under which queued jobs are to be done from now on; None once the ledger was told.
        self._recipe: Callable[[str], str] | None = None
        #: The ledger is to be told that work begins.
        self._begins = False
        self._steps = [
            Postponable(storage_retry, step, clock)
            for step in (
                self._follow_clock,
                self._tend_space,
                self._tend_hangs,
                self._hand_on_recipe,
                self._defer_lone_trials,
            )
        ]

    def tend(self) -> None:
        """What is due. Never waits for storage: what it refuses is done later, as what is due during a claim."""
        if self._claiming():
            return
        for step in self._steps:
            step()
        self._conditions.tend(self._clock())

    def begin(self) -> None:
        """The engine is ready and work begins: recordings that were alone when a daemon was killed wait from now on."""
        self._begins = True
        self.tend()

    def adopt(self, recipe: Callable[[str], str]) -> None:
        """Have queued jobs done under these recipes, told by the name of a profile; soon, if not at once."""
        self._recipe = recipe

    def _hand_on_recipe(self) -> None:
        if self._recipe is not None:
            self._ledger.adopt(self._recipe)
            self._recipe = None

    def _defer_lone_trials(self) -> None:
        if self._begins:
            self._ledger.defer_lone_trials(self._wall.now())
            self._begins = False

    def _follow_clock(self) -> None:
        self._jump += self._wall.step()
        if self._jump:
            self._ledger.clock_jumped(self._jump)
            logs.event(
                self._log,
                logs.Action.CLOCK,
                f"the system's clock was set by {self._jump:+.0f} s; waits go on as they were",
            )
            self._jump = 0.0

    def _tend_space(self) -> None:
        if self._space.tend():
            self._conditions.renew()
            self._wake()

    def _tend_hangs(self) -> None:
        if self._hangs.tend():
            self._conditions.renew()
            self._wake()
