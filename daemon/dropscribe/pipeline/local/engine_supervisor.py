"""Start the engine's processes, detect those that died or hang, and replace them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from dropscribe import logs
from dropscribe.engine.group import Member, ReplaceableMembers, StartingEngine
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError

#: Time without progress after which an engine with work counts as hung, seconds. The slowest valid batch, 60 s of audio
#: with a large model on two cores, takes well under half of it.
HUNG_S = 180.0
#: Consecutive engine starts that end before ready, after which `wait_ready` raises.
MOST_FAILED_STARTS = 3
#: Longest loading and warm-up, seconds, including the first download of a model.
READY_TIMEOUT_S = 1800.0
#: Delay before the next start on a device after `MOST_FAILED_STARTS` consecutive failed starts, seconds; other devices
#: continue. Such a fault (a GPU that fell off the bus) needs a person, or time.
REST_S = 600.0
#: Interval of calls to `meanwhile` in `wait_ready`, seconds.
SLICE_S = 0.25


class Plan(Protocol):
    """Factory of the engine and of its members."""

    def start(self) -> StartingEngine:
        """Start the engine with all its members; does not wait until it is ready."""

    def start_member(self, index: int) -> Member:
        """Start one member; does not wait until it is ready."""


class EngineSupervisor:
    """Owner of the engine's processes. Owned by one thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._log = logs.get("engine")
        self._failed_starts = 0
        #: By member index: consecutive failed starts, and time of the next start (monotonic seconds).
        self._member_failures: dict[int, int] = {}
        self._due: dict[int, float] = {}
        #: Engine processes started in place of others, and why the newest was.
        self.replaced = 0
        self.last_reason = ""
        self._start()

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """Wait until the engine is ready, calling `meanwhile` a few times a second; False once that returns True.

        Raises EngineError if the engine cannot be started (wrong directory, wrong device) or is not ready within
        `READY_TIMEOUT_S`, EngineDiedError if it died `MOST_FAILED_STARTS` times before it was ready.
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
                self._count(e.reason)
                self._respawn()
            if time.monotonic() > deadline:
                raise EngineError(
                    f"not ready after {READY_TIMEOUT_S:.0f} s",
                    operation="start engine",
                    remedy="run 'dropscribe doctor'; a slow download can be done beforehand",
                )
        return False

    def expect_progress(self, idle_s: float) -> None:
        """Raise DeviceFailedError if `idle_s`, the time without progress of an engine with work, exceeds `HUNG_S`.

        The caller must then `replace` the engine, which kills the process, whatever hangs in it (a kernel, a driver).
        """
        if idle_s > HUNG_S:
            raise DeviceFailedError(
                f"the engine made no progress for {HUNG_S:.0f} s and counts as hung", operation="recognise"
            )

    def replace(self, why: str) -> None:
        """End the engine and start another, logging `why`; `wait_ready` must follow."""
        logs.problem(self._log, logs.Action.ENGINE, f"{why}; the engine is replaced")
        self._count(why)
        self._respawn()

    def tend(self, now: float) -> None:
        """Replace members that died or hang, while the others continue; `now`: monotonic seconds.

        An engine without members is left alone: the caller handles its death and its hanging (`expect_progress`).
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
            self._count(loss.reason)
            then = "it is replaced" if rest_s == 0 else f"it is tried again in {rest_s:.0f} s"
            logs.problem(self._log, logs.Action.ENGINE, f"{loss.reason}; {then}, the other devices go on")
        for index in [i for i, due in self._due.items() if due <= now]:
            del self._due[index]
            group.fill(index, self._plan.start_member(index))

    def close(self) -> None:
        self.engine.close()

    def _count(self, reason: str) -> None:
        self.replaced += 1
        self.last_reason = reason

    def _respawn(self) -> None:
        self.engine.close()
        self._member_failures.clear()
        self._due.clear()
        self._start()

    def _start(self) -> None:
        self.engine = self._plan.start()
        self._group = self.engine if isinstance(self.engine, ReplaceableMembers) else None
