"""Keeps the engine alive, one process or several: starts them, sees them die or hang, replaces them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from dropscribe import logs
from dropscribe.engine.group import Member, ReplaceableMembers, StartingEngine
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError

#: An engine that makes no progress for so long while it holds work is taken as hung, seconds. The slowest
#: honest batch, 60 s of audio by a large model on two cores, takes well under half of it.
HUNG_S = 180.0
#: Engines that die before they were ever ready, in a row, after which the daemon gives up.
MOST_FAILED_STARTS = 3
#: How long loading and warm-up may take, seconds; includes a first download of a model.
READY_TIMEOUT_S = 1800.0
#: A device whose process could not be started again `MOST_FAILED_STARTS` times is left alone for so long, seconds,
#: while the other devices go on: what broke it (a card off the bus) needs a person, or time.
REST_S = 600.0
#: How often waiting for the engine looks at anything else, seconds.
SLICE_S = 0.25


class Plan(Protocol):
    """Which engine to start, and how."""

    def start(self) -> StartingEngine:
        """Start it, with all its members if it has any; does not wait until it is ready."""

    def start_member(self, index: int) -> Member:
        """Start one of its members; does not wait until it is ready."""


class EngineSupervisor:
    """Owner of the engine's processes. Owned by one thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._log = logs.get("engine")
        self._failed_starts = 0
        #: Of members, by index: starts in a row that failed, and when (monotonic) to start the next.
        self._member_failures: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._start()

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """Wait for the engine to be warm, calling `meanwhile` a few times a second; False when that says stop.

        Raises EngineError when the engine cannot be started at all (wrong directory, wrong device), EngineDiedError
        when it died `MOST_FAILED_STARTS` times before it was ready.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not meanwhile():
            try:
                if self.engine.wait_ready(SLICE_S):
                    self._failed_starts = 0
                    return True
            except EngineDiedError as e:
                self._failed_starts += 1
                if self._failed_starts >= MOST_FAILED_STARTS:
                    raise type(e)(
                        f"{e.reason}, {self._failed_starts} times in a row",
                        operation=e.operation,
                        remedy=e.remedy,
                    ) from e
                logs.problem(self._log, logs.Action.ENGINE, f"while starting, {e.reason}; starting another")
                self._respawn()
            if time.monotonic() > deadline:
                raise EngineError(
                    f"not ready after {READY_TIMEOUT_S:.0f} s",
                    operation="start engine",
                    remedy="run 'dropscribe doctor'; a slow download can be done beforehand",
                )
        return False

    def expect_progress(self, idle_s: float) -> None:
        """Raises DeviceFailedError when an engine that holds work has not moved for too long; then `replace` it.

        Whatever hangs there (a kernel, a driver, a call into somebody's library), the process is killed with it.
        """
        if idle_s > HUNG_S:
            raise DeviceFailedError(
                f"the engine made no progress for {HUNG_S:.0f} s and counts as hung", operation="recognise"
            )

    def replace(self, why: str) -> None:
        """End the engine at hand and start another; `wait_ready` before using it."""
        logs.problem(self._log, logs.Action.ENGINE, f"{why}; the engine is replaced")
        self._respawn()

    def tend(self, now: float) -> None:
        """Replace members that died or hang, while the others go on; `now` is monotonic.

        An engine without members is not touched: the caller handles its death or hanging (`expect_progress`).
        """
        group = self._group
        if group is None:
            return
        group.retire_stuck(now, hung_s=HUNG_S, start_s=READY_TIMEOUT_S)
        for loss in group.take_losses():
            failures = 0 if loss.was_ready else self._member_failures.get(loss.index, 0) + 1
            self._member_failures[loss.index] = failures
            rest_s = 0.0 if failures < MOST_FAILED_STARTS else REST_S
            self._due[loss.index] = now + rest_s
            then = "it is replaced" if rest_s == 0 else f"it is tried again in {rest_s:.0f} s"
            logs.problem(self._log, logs.Action.ENGINE, f"{loss.reason}; {then}, the other devices go on")
        for index in [i for i, due in self._due.items() if due <= now]:
            del self._due[index]
            group.fill(index, self._plan.start_member(index))

    def close(self) -> None:
        self.engine.close()

    def _respawn(self) -> None:
        self.engine.close()
        self._member_failures.clear()
        self._due.clear()
        self._start()

    def _start(self) -> None:
        self.engine = self._plan.start()
        self._group = self.engine if isinstance(self.engine, ReplaceableMembers) else None
