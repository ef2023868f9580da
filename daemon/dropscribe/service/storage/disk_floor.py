"""Decide whether a disk has enough free space for new work. Pure: readings and `now` are arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Free space at which work resumes, as a multiple of the floor (hysteresis): otherwise the next recording would use it
#: up, and the state would toggle.
RESUME_TIMES = 1.5
#: Largest floor as a share of the disk; on a small disk work would otherwise never start.
LARGEST_SHARE = 0.1
#: Age above which a reading is ignored, seconds.
STALE_S = 30.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Free and total space of a disk at `at` (monotonic seconds)."""

    free_bytes: int
    total_bytes: int
    at: float


@dataclass(frozen=True, slots=True)
class Low:
    """A place with too little free space. `since`: monotonic seconds."""

    free_bytes: int
    floor_bytes: float
    since: float

    @property
    def resume_bytes(self) -> float:
        """Free space at which work resumes, bytes."""
        return self.floor_bytes * RESUME_TIMES


class Floor:
    """State of each place: low or not.

    1. A place becomes low when less than the floor is free.
    2. It stays low until `RESUME_TIMES` × the floor is free.
    3. A stale reading (a share that hangs) does not change the state; initially a place is not low.
    """

    def __init__(self, floor_bytes: int) -> None:
        """`floor_bytes` 0: no place is ever low."""
        self._floor_bytes = floor_bytes
        self._low: dict[Path, Low] = {}

    def judge(self, readings: Mapping[Path, Reading], now: float) -> Mapping[Path, Low]:
        """Update from these readings and return the low places; the state of places without a reading is discarded."""
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
