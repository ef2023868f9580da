"""Decide which folders' recordings may be begun: pauses, working hours, pace. Owned by the main thread."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dropscribe.config import Folder, Settings
from dropscribe.ledger.control import FolderTerms, Pause, Terms
from dropscribe.ledger.records import Claim
from dropscribe.schedules import Hours, Pace, parse_hours, parse_pace

#: What a folder with a pace may save up while it has nothing to do, seconds of its pace.
SAVED_S = 300.0
#: Code of the wait of a folder outside its hours.
HOURS = "hours"


@dataclass(frozen=True, slots=True)
class Wait:
    """Why recordings of a folder (None: of all) wait, in words; `until`: epoch seconds, None if nobody knows."""

    folder: Path | None
    code: str  #: "paused", "draining", "hours", "pace"
    reason: str
    until: float | None = None


class PaceMeter:
    """Balance of a folder with a pace. It begins at 0, so that a restart gives nothing but the first recording.

    What is taken is subtracted, after the fact for audio, whose length is not known before; while the balance is negative
    nothing is begun. Of a folder with a pace of audio one recording is in progress at a time.
    """

    def __init__(self, pace: Pace, now: float) -> None:
        self.pace = pace
        self._balance = 0.0
        self._at = now
        # One recording may always be begun at a balance of 0.
        self._most = max(0.0, pace.rate * SAVED_S - (0.0 if pace.audio else 1.0))

    def room(self, now: float, in_flight: int) -> int:
        """How many recordings may be begun at `now`, monotonic seconds."""
        self._refill(now)
        if self._balance < 0:
            return 0
        return int(not in_flight) if self.pace.audio else math.floor(self._balance) + 1

    def take(self, now: float, amount: float) -> None:
        """Subtract what was begun (recordings) or done (seconds of audio)."""
        self._refill(now)
        self._balance -= amount

    def wait_s(self, now: float) -> float:
        """Seconds until something may be begun; 0 if now."""
        self._refill(now)
        return max(0.0, -self._balance) / self.pace.rate

    def _refill(self, now: float) -> None:
        self._balance = min(self._most, self._balance + (now - self._at) * self.pace.rate)
        self._at = now


class FolderRules:
    """Terms of the next claim, and what waits for what. Clocks are passed: epoch seconds, monotonic seconds."""

    def __init__(
        self, settings: Callable[[], Settings], *, wall: Callable[[], float], monotonic: Callable[[], float],
        local: Callable[[float], datetime] | None = None,
    ) -> None:  # fmt: skip
        """`local` converts epoch seconds to local time, by default that of the machine."""
        self._settings = settings
        self._wall = wall
        self._monotonic = monotonic
        self._local = local
        self._hours: dict[str, Hours] = {}
        self._meters: dict[Path, PaceMeter] = {}
        #: Folder → when its hours begin, while they are over.
        self._opening: dict[Path, float] = {}
        #: As last read from the ledger, which refuses claims of paused folders by itself.
        self.pauses: Sequence[Pause] = ()

    @property
    def draining(self) -> Pause | None:
        """The request to end when nothing is in progress, if there is one."""
        return next((p for p in self.pauses if p.draining), None)

    def terms(self, in_flight: Iterable[Claim]) -> Terms:
        """Terms of a claim that is made now."""
        mine = Counter(c.folder for c in in_flight)
        return Terms(
            {f.path: FolderTerms(self._most(f, mine[f.path]), f.share) for f in self._settings().folders}
        )

    def is_closed(self, folder: Path) -> bool:
        """True if nothing of a folder is to be begun now, because of a pause or its hours; claimed jobs go back."""
        if any(p.folder in {None, folder} for p in self.pauses):
            return True
        return any(f.path == folder and not self._is_open(f) for f in self._settings().folders)

    def claimed(self, claims: Iterable[Claim]) -> None:
        """Note new claims."""
        for folder, count in Counter(c.folder for c in claims).items():
            meter = self._meter(folder)
            if meter is not None and not meter.pace.audio:
                meter.take(self._monotonic(), count)

    def done(self, folder: Path, audio_s: float) -> None:
        """Note a recording whose audio was recognised."""
        meter = self._meter(folder)
        if meter is not None and meter.pace.audio:
            meter.take(self._monotonic(), audio_s)

    def waits(self, in_flight: Iterable[Claim]) -> list[Wait]:
        """What waits now, and why."""
        mine = Counter(c.folder for c in in_flight)
        found = [
            Wait(
                p.folder,
                "draining" if p.draining else "paused",
                f"{'drained' if p.draining else 'paused'} by {p.who}",
            )
            for p in self.pauses
        ]
        for f in self._settings().folders:
            if not self._is_open(f):
                if f.path not in self._opening:
                    # The search takes tens of milliseconds.
                    self._opening[f.path] = self._hours_of(f).next_opening(self._wall(), self._local)
                found.append(
                    Wait(f.path, HOURS, f"its hours are {', '.join(f.hours)}", self._opening[f.path])
                )
            elif f.pace is not None and self._most(f, mine[f.path]) == 0:
                meter = self._meter(f.path)
                wait_s = 0.0 if meter is None else meter.wait_s(self._monotonic())
                found.append(
                    Wait(f.path, "pace", f"its pace is {f.pace}", self._wall() + wait_s if wait_s else None)
                )
        return found

    def keep(self, folders: Mapping[Path, Folder]) -> None:
        """Forget what belongs to folders that are not watched any more, after a reload."""
        self._meters = {f: m for f, m in self._meters.items() if f in folders}
        self._opening.clear()

    def _most(self, folder: Folder, in_flight: int) -> int | None:
        if not self._is_open(folder):
            return 0
        meter = self._meter(folder.path)
        return None if meter is None else meter.room(self._monotonic(), in_flight)

    def _is_open(self, folder: Folder) -> bool:
        is_open = not folder.hours or self._hours_of(folder).is_open(self._wall(), self._local)
        if is_open:
            self._opening.pop(folder.path, None)
        return is_open

    def _hours_of(self, folder: Folder) -> Hours:
        key = ",".join(folder.hours)
        if key not in self._hours:
            self._hours[key] = parse_hours(folder.hours)
        return self._hours[key]

    def _meter(self, path: Path) -> PaceMeter | None:
        folder = next((f for f in self._settings().folders if f.path == path), None)
        if folder is None or folder.pace is None:
            self._meters.pop(path, None)
            return None
        pace = parse_pace(folder.pace)
        meter = self._meters.get(path)
        if meter is None or meter.pace != pace:
            meter = self._meters[path] = PaceMeter(pace, self._monotonic())
        return meter
