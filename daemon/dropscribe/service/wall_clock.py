"""Wall clock that does not jump when the system clock is set, until the jump is applied explicitly."""

from __future__ import annotations

from collections.abc import Callable

#: Smallest jump of the system clock, seconds; smaller differences are slewing or reading delays.
STEP_S = 1.0


class WallClock:
    """Epoch seconds. Owned by one thread, which applies jumps by `step`, so that no deadline passes by a jump."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._ahead = wall() - monotonic()

    def now(self) -> float:
        """System clock at the last `step` plus the time elapsed since, epoch seconds."""
        return self._monotonic() + self._ahead

    def step(self) -> float:
        """Apply the jump of the system clock since the last call to `now`; returns it in seconds (0.0 if none).

        The caller must shift pending deadlines by the same amount.
        """
        jump = self._wall() - self.now()
        if abs(jump) < STEP_S:
            return 0.0
        self._ahead += jump
        return jump
