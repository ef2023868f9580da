"""Maintenance steps of the main loop that update the ledger, with or without work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dropscribe import logs
from dropscribe.ledger.interface import Ledger
from dropscribe.service.admission.folder_state import FolderConditions
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.storage.disk_space import FreeSpace
from dropscribe.service.storage.hangs import StorageHangs
from dropscribe.service.storage.storage_retry import Postponable, StorageRetry
from dropscribe.service.storage.unwritable import UnwritableFolders
from dropscribe.service.wall_clock import WallClock


class Maintenance:
    """Maintenance of the ledger. Owned by the thread that starts claims, and suspended during a claim.

    Otherwise a claim could see delays and leases from before a clock jump with the time after it, or jobs between the
    end of one hold and the start of the next.
    """

    def __init__(
        self, ledger: Ledger, wall: WallClock, space: FreeSpace, conditions: FolderConditions,
        hangs: StorageHangs, *,
        unwritable: UnwritableFolders, models: UnusableModels, storage_retry: StorageRetry, clock: Callable[[], float], wake: Callable[[], None], claiming: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`clock`: monotonic seconds. `wake`: called when jobs may be ready. `claiming`: True during one."""
        self._ledger = ledger
        self._wall = wall
        self._space = space
        self._hangs = hangs
        self._unwritable = unwritable
        self._models = models
        self._conditions = conditions
        self._clock = clock
        self._wake = wake
        self._claiming = claiming
        self._log = logs.get("service")
        #: Clock jump not yet applied to the ledger, seconds.
        self._jump = 0.0
        #: Profile → recipe for queued jobs, not yet applied to the ledger; None if applied.
        self._recipe: Callable[[str], str] | None = None
        #: Folder → priority of its queued jobs, not yet applied to the ledger.
        self._priorities: dict[Path, int] = {}
        #: True until lone trials are deferred after `begin`.
        self._begins = False
        self._steps = [
            Postponable(storage_retry, step, clock)
            for step in (
                self._follow_clock,
                self._tend_space,
                self._tend_hangs,
                self._tend_unwritable,
                self._tend_models,
                self._apply_recipe,
                self._defer_lone_trials,
            )
        ]

    def tend(self) -> None:
        """Run all steps unless a claim is under way. Never waits: a step that storage refuses is retried later."""
        if self._claiming():
            return
        for step in self._steps:
            step()
        self._conditions.tend(self._clock())

    def begin(self) -> None:
        """Call when the engine is ready: recordings that were under way alone when a daemon was killed are deferred."""
        self._begins = True
        self.tend()

    def adopt(self, recipe: Callable[[str], str], priorities: dict[Path, int] | None = None) -> None:
        """Set the recipes (by profile name) and the priorities (by watched folder) of queued jobs at the next step."""
        self._recipe = recipe
        self._priorities = priorities or {}

    def _apply_recipe(self) -> None:
        if self._recipe is not None:
            self._ledger.apply_recipes(self._recipe)
            self._ledger.apply_priorities(self._priorities)
            self._recipe = None

    def _defer_lone_trials(self) -> None:
        if self._begins:
            self._ledger.defer_lone_trials(self._wall.now())
            self._begins = False

    def _follow_clock(self) -> None:
        self._jump += self._wall.step()
        if self._jump:
            self._ledger.shift_instants(self._jump)
            logs.event(
                self._log,
                logs.Action.CLOCK,
                f"the system clock was set by {self._jump:+.0f} s; delays stay as long as they were",
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

    def _tend_unwritable(self) -> None:
        if self._unwritable.tend():
            self._conditions.renew()
            self._wake()

    def _tend_models(self) -> None:
        if self._models.tend():
            self._conditions.renew()
            self._wake()
