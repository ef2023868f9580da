"""Start the engine's process, detect that it hangs, and replace it when it died or does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from dropscribe import logs
from dropscribe.engine.protocol import LocalEngine
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError

#: Time without progress after which an engine with work counts as hung, seconds. The slowest valid batch, 60 s of audio
#: with a large model on two cores, takes well under half of it.
HUNG_S = 180.0
#: Consecutive engine starts that end before ready, after which `wait_ready` raises.
MOST_FAILED_STARTS = 3
#: Longest loading and warm-up, seconds, including the first download of a model.
READY_TIMEOUT_S = 1800.0
#: Interval of calls to `meanwhile` in `wait_ready`, seconds.
SLICE_S = 0.25


class StartingEngine(LocalEngine, Protocol):
    """An engine that may still be loading its models, such as `ProcessEngine`."""

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the warm-up; true once it is done. Raises EngineError, EngineDiedError."""


class Plan(Protocol):
    """Factory of the engine."""

    def start(self) -> StartingEngine:
        """Start an engine; does not wait until it is ready."""


class EngineSupervisor:
    """Owner of the engine's process. Owned by one thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._log = logs.get("engine")
        self._failed_starts = 0
        #: Engine processes started in place of others, and why the newest was.
        self.replaced = 0
        self.last_reason = ""
        self.engine = plan.start()

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

    def close(self) -> None:
        self.engine.close()

    def _count(self, reason: str) -> None:
        self.replaced += 1
        self.last_reason = reason

    def _respawn(self) -> None:
        self.engine.close()
        self.engine = self._plan.start()
