"""Pause new work while free disk space is low: for some folders, or for all if it is the database's disk."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.ledger.backend import location_of
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import NO_ROOM
from dropscribe.service.monitoring.status_file import Complaint, Free

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
        self.floor_bytes = floor_bytes
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
        floor = min(self.floor_bytes, reading.total_bytes * LARGEST_SHARE)
        if reading.free_bytes >= floor * (RESUME_TIMES if before else 1.0):
            return None
        return Low(reading.free_bytes, floor, before.since if before else now)


MIB = 1024**2
#: Interval of readings of the free space, seconds.
READ_S = 1.0


class Gauges:
    """Read free space, each place in its own thread, since the call may block for ever on a share that hangs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readings: dict[Path, Reading] = {}
        self._over: dict[Path, threading.Event] = {}

    def watch(self, places: Iterable[Path]) -> None:
        """Read only these places from now on."""
        wanted = set(places)
        with self._lock:
            for place in self._over.keys() - wanted:
                self._over.pop(place).set()
                self._readings.pop(place, None)
            for place in wanted - self._over.keys():
                over = self._over[place] = threading.Event()
                threading.Thread(target=self._read, args=(place, over), name="space", daemon=True).start()

    def readings(self) -> dict[Path, Reading]:
        """Latest reading of each place."""
        with self._lock:
            return dict(self._readings)

    def _read(self, place: Path, over: threading.Event) -> None:
        while not over.is_set():
            # Errors (a share that is away, no permission) are reported by the threads that write there.
            with contextlib.suppress(OSError):
                reading = read(place)
                with self._lock:
                    if not over.is_set():
                        self._readings[place] = reading
            over.wait(READ_S)


def read(place: Path) -> Reading:
    """Free space on the disk of `place`, which need not exist yet. Raises OSError."""
    there = nearest_existing(place)
    status = os.statvfs(there)
    # f_bavail: without the blocks reserved for root.
    return Reading(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, time.monotonic())


class FreeSpace:
    """Hold jobs of folders whose disk is low; allow no claims while the database's disk is.

    Owned by the main thread.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._log = logs.get("service")
        self._floor = Floor(settings.service.free_floor_mb * MIB)
        self._gauges = Gauges()
        self._database = location_of(settings).directory
        #: Watched folder → directory of its transcripts.
        self._targets: dict[Path, Path] = {}
        self._low: Mapping[Path, Low] = {}
        #: Folders whose jobs may be on hold, also from a previous run of the daemon.
        self._held: set[Path] = set()
        self.watch(settings)

    def watch(self, settings: Settings) -> None:
        """Watch the disks of the folders and profiles in `settings`, with the floor in it."""
        self._floor.floor_bytes = settings.service.free_floor_mb * MIB
        self._targets = {f.path: settings.profile(f.profile).output_dir or f.path for f in settings.folders}
        self._held |= self._targets.keys()
        self._gauges.watch({self._database, *self._targets.values()})

    def close(self) -> None:
        self._gauges.watch(())

    def has_room(self) -> bool:
        """Check before a claim: True if jobs may be claimed. Raises StorageError.

        On return the jobs of folders without space are on hold, which says why they wait. One that is admitted after that
        is not: the claim leaves out the folders of `full`.
        """
        self._judge()
        if self._database in self._low:
            return False
        for folder, target in self._targets.items():
            if target in self._low:
                self._held.add(folder)
                complaint = _complaint(
                    target, self._low[target], f"no new recordings of {folder} are started"
                )
                self._ledger.hold(
                    folder, time.time(), reason=complaint.problem, remedy=complaint.remedy, code=NO_ROOM
                )
        return True

    def full(self) -> list[Path]:
        """Watched folders without space for their transcripts, as of the last `has_room` or `tend`."""
        return [folder for folder, target in self._targets.items() if target in self._low]

    def tend(self) -> int:
        """Release the jobs of folders with enough space again; returns how many. Raises StorageError."""
        self._judge()
        count = 0
        readings = self._gauges.readings()
        for folder in list(self._held):
            target = self._targets.get(folder)
            # Jobs of a folder that is no longer watched are released, too.
            if target is not None and (target in self._low or target not in readings):
                continue
            count += self._ledger.resume(folder, time.time(), code=NO_ROOM)
            self._held.discard(folder)
        return count

    def complaints(self) -> list[Complaint]:
        """Places that are low now, for the status."""
        return [self._complaint(place, low) for place, low in self._low.items()]

    def free(self) -> Free:
        """Free space as of the latest readings."""
        readings = self._gauges.readings()
        transcripts = [r.free_bytes for place, r in readings.items() if place in self._targets.values()]
        database = readings.get(self._database)
        return Free(None if database is None else database.free_bytes, min(transcripts, default=None))

    def _judge(self) -> None:
        """Judge the latest readings and log changes."""
        before = self._low
        self._low = self._floor.judge(self._gauges.readings(), time.monotonic())
        for place in self._low.keys() - before.keys():
            complaint = self._complaint(place, self._low[place])
            logs.problem(self._log, logs.Action.STORAGE, complaint.problem, remedy=complaint.remedy)
        for place in before.keys() - self._low.keys():
            logs.event(self._log, logs.Action.STORAGE, f"{place}: enough free space again, work resumes")

    def _complaint(self, place: Path, low: Low) -> Complaint:
        if place == self._database:
            return _complaint(place, low, "no new work is started")
        folders = ", ".join(str(f) for f, target in self._targets.items() if target == place)
        return _complaint(place, low, f"no new recordings of {folders} are started")


def _complaint(place: Path, low: Low, what: str) -> Complaint:
    return Complaint(
        f"{place}: less than {low.floor_bytes / MIB:.0f} MiB are free; {what}",
        f"free some space on that disk: work resumes at {low.resume_bytes / MIB:.0f} MiB "
        "(the floor is service.free_floor_mb)",
    )


def nearest_existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists and can be reached by this user."""
    for candidate in (path, *path.parents):
        with contextlib.suppress(OSError):
            candidate.stat()
            return candidate
    return Path("/")
