"""The time of day for whoever waits: it goes on evenly when the system's clock is set, until it is told to follow."""

from __future__ import annotations

from collections.abc import Callable

#: A clock that is off by less is being slewed, or was read a little later, seconds.
STEP_S = 1.0


class WallClock:
    """Epoch seconds. Owned by one thread, so that between two looks at what is due nothing falls due by a jump."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._ahead = wall() - monotonic()

    def now(self) -> float:
        """As the system's clock was at the last `step`, and the time that has passed since."""
        return self._monotonic() + self._ahead

    def step(self) -> float:
        """By how much the system's clock was set since the last call (back: negative; 0.0 if it was not), seconds.

        `now` follows it from here on; the caller takes what is due later along.
        """
        jump = self._wall() - self.now()
        if abs(jump) < STEP_S:
            return 0.0
        self._ahead += jump
        return jump
