"""Whether a disk has room enough for work to be begun. Pure: readings and `now` are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Work goes on only when so many times the floor is free: what is freed shall not be used up by the next recording,
#: and the log not say "low", "room", "low" all night.
RESUME_TIMES = 1.5
#: On a small disk the floor is this share of it at most, or nothing would ever be begun there.
LARGEST_SHARE = 0.1
#: A reading older than this says nothing any more, seconds.
STALE_S = 30.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a disk said of itself at `at` (monotonic seconds)."""

    free_bytes: int
    total_bytes: int
    at: float


@dataclass(frozen=True, slots=True)
class Low:
    """A place without room. `since`: monotonic seconds."""

    free_bytes: int
    floor_bytes: float
    since: float

    @property
    def resume_bytes(self) -> float:
        """Work goes on when so much is free."""
        return self.floor_bytes * RESUME_TIMES


class Floor:
    """Which places are low.

    1. A place with less than the floor free becomes low.
    2. A low place stays so until `RESUME_TIMES` the floor is free.
    3. A place whose reading is stale (a share that hangs) stays what it was; at first it has room.
    """

    def __init__(self, floor_bytes: int) -> None:
        """`floor_bytes` 0: nothing is ever low."""
        self._floor_bytes = floor_bytes
        self._low: dict[Path, Low] = {}

    def judge(self, readings: Mapping[Path, Reading], now: float) -> Mapping[Path, Low]:
        """The places that are low by these readings; what is not among them is forgotten."""
        self._low = {
            place: low
            for place, reading in readings.items()
            if (low := self._judge(self._low.get(place), reading, now)) is not None
        }
        return self._low

    def _judge(self, before: Low | None, reading: Reading, now: float) -> Low | None:
        if now - reading.at > STALE_S:
            return before
        floor = min(self._floor_bytes, reading.total_bytes * LARGEST_SHARE)
        if reading.free_bytes >= floor * (RESUME_TIMES if before else 1.0):
            return None
        return Low(reading.free_bytes, floor, before.since if before else now)
