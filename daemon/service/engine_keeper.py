"""Keeps one engine process alive: starts it, sees it die or hang, replaces it."""

from __future__ import annotations

import time
from collections.abc import Callable

from daemon import logs
from daemon.config import EngineSettings
from daemon.engine.process import ProcessEngine
from daemon.errors import EngineDiedError, EngineError
from daemon.service.arena import Arena

#: An engine that makes no progress for so long while it holds work is taken as hung, seconds. The slowest
#: honest batch, 60 s of audio by a large model on two cores, takes well under half of it.
HUNG_S = 180.0
#: Engines that die before they were ever ready, in a row, after which the daemon gives up.
MOST_FAILED_STARTS = 3
#: How long loading and warm-up may take, seconds; includes a first download of a model.
READY_TIMEOUT_S = 1800.0
#: How often waiting for the engine looks at anything else, seconds.
SLICE_S = 0.25


class EngineKeeper:
    """Owner of the engine process. Owned by the daemon's main thread."""

    def __init__(self, settings: EngineSettings, arena: Arena, capacity_s: float) -> None:
        self._settings = settings
        self._arena = arena
        self._capacity_s = capacity_s
        self._log = logs.get("engine")
        self._failed_starts = 0
        self.engine = self._spawn()

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """Wait for the engine to be warm, calling `meanwhile` a few times a second; False when that says stop.

        Raises EngineError when the engine cannot be started at all (wrong directory, wrong device).
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not meanwhile():
            try:
                if self.engine.wait_ready(SLICE_S):
                    self._failed_starts = 0
                    return True
            except EngineDiedError:
                self._failed_starts += 1
                if self._failed_starts >= MOST_FAILED_STARTS:
                    raise
                logs.problem(
                    self._log, logs.Action.ENGINE, "the engine died while starting; starting another"
                )
                self._respawn()
            if time.monotonic() > deadline:
                raise EngineError(
                    f"not ready after {READY_TIMEOUT_S:.0f} s",
                    operation="start engine",
                    remedy="run 'dropscribe doctor'; a slow download can be done beforehand",
                )
        return False

    def replace(self, why: str) -> None:
        """End the engine at hand and start another; `wait_ready` before using it."""
        logs.problem(self._log, logs.Action.ENGINE, f"{why}; the engine is replaced")
        self._respawn()

    def close(self) -> None:
        self.engine.close()

    def _respawn(self) -> None:
        self.engine.close()
        self.engine = self._spawn()

    def _spawn(self) -> ProcessEngine:
        return ProcessEngine(
            self._settings,
            arena_fd=self._arena.fd,
            arena_bytes=self._arena.size_bytes,
            capacity_s=self._capacity_s,
        )
