"""Begins no work that the disk has no room for: of no recording, or of no recording of some folders."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import NO_ROOM
from dropscribe.service.status_file import Complaint
from dropscribe.service.storage.disk_floor import Floor, Low, Reading

MIB = 1024**2
#: How often a disk is asked what is free, seconds.
READ_S = 1.0


class Gauges:
    """Readings of free space, each place by a thread of its own: asking a share that hangs takes for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readings: dict[Path, Reading] = {}
        self._over: dict[Path, threading.Event] = {}

    def watch(self, places: Iterable[Path]) -> None:
        """Read these from now on, and no others."""
        wanted = set(places)
        with self._lock:
            for place in self._over.keys() - wanted:
                self._over.pop(place).set()
                self._readings.pop(place, None)
            for place in wanted - self._over.keys():
                over = self._over[place] = threading.Event()
                threading.Thread(target=self._read, args=(place, over), name="space", daemon=True).start()

    def readings(self) -> dict[Path, Reading]:
        """The latest of each place."""
        with self._lock:
            return dict(self._readings)

    def _read(self, place: Path, over: threading.Event) -> None:
        while not over.is_set():
            # Unreadable (a share that is away, a folder without permission): whoever writes there says it better.
            with contextlib.suppress(OSError):
                reading = read(place)
                with self._lock:
                    if not over.is_set():
                        self._readings[place] = reading
            over.wait(READ_S)


def read(place: Path) -> Reading:
    """What is free on the disk that holds `place`, or will. Raises OSError."""
    there = next((p for p in (place, *place.parents) if p.exists()), Path("/"))
    status = os.statvfs(there)
    # What an ordinary user may still take; the rest is root's.
    return Reading(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize, time.monotonic())


class FreeSpace:
    """Owned by the main thread. A folder without room has its jobs wait in the ledger; without room for the database
    itself nothing at all is begun.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._log = logs.get("service")
        self._floor = Floor(settings.service.free_floor_mb * MIB)
        self._gauges = Gauges()
        self._database = DatabaseLocation(settings.database).directory
        #: By watched folder, where its transcripts go.
        self._targets: dict[Path, Path] = {}
        self._low: Mapping[Path, Low] = {}
        #: Folders whose jobs may have been told to wait, also by the daemon before this one.
        self._held: set[Path] = set()
        self.watch(settings)

    def watch(self, settings: Settings) -> None:
        """The folders and profiles in force."""
        self._targets = {f.path: settings.profile(f.profile).output_dir or f.path for f in settings.folders}
        self._held |= self._targets.keys()
        self._gauges.watch({self._database, *self._targets.values()})

    def close(self) -> None:
        self._gauges.watch(())

    def has_room(self) -> bool:
        """To be asked right before jobs are claimed: whether any may be. Raises StorageError.

        When this returns, the jobs that folders without room have by now are not there to be claimed.
        """
        self._look()
        if self._database in self._low:
            return False
        for folder, target in self._targets.items():
            if target in self._low:
                self._held.add(folder)
                said = _complaint(target, self._low[target], f"no recording of {folder} is begun")
                self._ledger.hold(folder, time.time(), reason=said.problem, remedy=said.remedy, code=NO_ROOM)
        return True

    def tend(self) -> int:
        """Have the jobs of folders with room again go on; how many there were. Raises StorageError."""
        self._look()
        count = 0
        readings = self._gauges.readings()
        for folder in list(self._held):
            target = self._targets.get(folder)
            # Of a folder that is not watched any more the jobs go on as if there were room, as ever.
            if target is not None and (target in self._low or target not in readings):
                continue
            count += self._ledger.resume(folder, time.time(), code=NO_ROOM)
            self._held.discard(folder)
        return count

    def complaints(self) -> list[Complaint]:
        """What is low now, for a person."""
        return [self._complaint(place, low) for place, low in self._low.items()]

    def _look(self) -> None:
        before = self._low
        self._low = self._floor.judge(self._gauges.readings(), time.monotonic())
        for place in self._low.keys() - before.keys():
            said = self._complaint(place, self._low[place])
            logs.problem(self._log, logs.Action.STORAGE, said.problem, remedy=said.remedy)
        for place in before.keys() - self._low.keys():
            logs.event(self._log, logs.Action.STORAGE, f"{place}: there is room again, work goes on")

    def _complaint(self, place: Path, low: Low) -> Complaint:
        if place == self._database:
            return _complaint(place, low, "no recording is begun")
        folders = ", ".join(str(f) for f, target in self._targets.items() if target == place)
        return _complaint(place, low, f"no recording of {folders} is begun")


def _complaint(place: Path, low: Low, what: str) -> Complaint:
    return Complaint(
        f"{place}: less than {low.floor_bytes / MIB:.0f} MiB are free; {what}",
        f"free some space on that disk: work goes on at {low.resume_bytes / MIB:.0f} MiB "
        "(the floor is service.free_floor_mb)",
    )
