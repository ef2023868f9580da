"""Decide what of a finished recording is due to be removed or moved. Pure: `now` is an argument.

Each kind of thing that some profile removes after a certain time has a cursor through the done jobs, in order of their end. A
step of a cursor reads a limited number of jobs. At its end it waits for further jobs to become due, and from time to time it
begins anew, so that what could not be done is tried again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from dropscribe.config import Profile, Settings
from dropscribe.keeping_terms import Fate, after_done, kept_for
from dropscribe.ledger.keeping import FinishedRecording

#: Interval after which a cursor begins anew, seconds: a file that could not be removed is tried again.
ANEW_S = 3600.0
#: The same when it has met a folder that was away, seconds.
AGAIN_S = 30.0
#: Interval between two steps of a cursor that has reached the jobs that are not due yet, seconds.
IDLE_S = 5.0
#: Highest number for a suffix of a name that is taken.
MOST_NUMBER = 999


class Kind(Enum):
    """What is removed, or moved."""

    RECORDING = "recording"
    FILES = "files"
    TEXT = "text"
    LOGS = "logs"


def delay_s(kind: Kind, profile: Profile) -> float | None:
    """Time after the end of a job when a profile removes or moves something of it, seconds; None: never."""
    match kind:
        case Kind.RECORDING:
            fate = after_done(profile.after_done)
            return None if fate.fate is Fate.KEEP else fate.after_s
        case Kind.FILES:
            return kept_for(profile.keep_outputs)
        case Kind.TEXT:
            return kept_for(profile.keep_text)
        case Kind.LOGS:
            return kept_for(profile.keep_logs)


def is_due(kind: Kind, one: FinishedRecording, settings: Settings, now: float) -> bool:
    """True if something is left of this kind and its time has come.

    Recordings and files belong to the newest job of a path, which decides for all.
    """
    left = {Kind.RECORDING: one.recording and one.newest, Kind.FILES: one.files and one.newest,
            Kind.TEXT: one.text, Kind.LOGS: one.logs}[kind]  # fmt: skip
    after_s = delay_s(kind, settings.profile(one.profile))
    return left and after_s is not None and one.finished_at + after_s <= now


def target_of(one_path: Path, folder: Path, directory: Path) -> Path:
    """Where a recording of a watched folder is moved to: at the same place below `directory`."""
    inside = one_path.is_relative_to(folder)
    return directory / (one_path.relative_to(folder) if inside else one_path.name)


def free_names(target: Path) -> Iterator[Path]:
    """Names for a moved recording, in order of preference: `a.wav`, `a (2).wav`, …"""
    yield target
    for number in range(2, MOST_NUMBER + 1):
        yield target.with_name(f"{target.stem} ({number}){target.suffix}")


@dataclass(slots=True)
class Cursor:
    """Position of one kind and delay in the done jobs."""

    kind: Kind
    after_s: float
    position: tuple[float, int] = (float("-inf"), 0)
    next_at: float = float("-inf")  #: monotonic seconds
    anew_at: float = float("inf")  #: monotonic seconds


@dataclass
class Schedule:
    """The cursors of the settings in force. Owned by one thread; `clock` values are monotonic seconds."""

    cursors: list[Cursor] = field(default_factory=list)

    def apply(self, settings: Settings) -> None:
        """Have a cursor for each kind and delay that a profile has; all begin anew if that changes anything."""
        wanted = {
            (kind, after_s)
            for kind in Kind
            for profile in settings.profiles.values()
            if (after_s := delay_s(kind, profile)) is not None
        }
        if wanted != {(c.kind, c.after_s) for c in self.cursors}:
            order = list(Kind)
            self.cursors = [
                Cursor(kind, after_s)
                for kind, after_s in sorted(wanted, key=lambda w: (order.index(w[0]), w[1]))
            ]

    def restart(self) -> None:
        """Let all cursors begin anew, after a change of settings."""
        self.cursors = [Cursor(c.kind, c.after_s) for c in self.cursors]

    def due(self, clock: float) -> Cursor | None:
        """The cursor whose next step is due first; None while none is."""
        ready = [c for c in self.cursors if c.next_at <= clock]
        return min(ready, key=lambda c: c.next_at, default=None)

    def again_soon(self, cursor: Cursor, clock: float) -> None:
        """Begin a cursor anew soon: something was due in a folder that is away."""
        cursor.anew_at = min(cursor.anew_at, clock + AGAIN_S)

    def stepped(self, cursor: Cursor, rows: Collection[FinishedRecording], limit: int, clock: float) -> None:
        """Move a cursor behind the rows that a step has read, of at most `limit`."""
        if cursor.anew_at == float("inf"):
            cursor.anew_at = clock + ANEW_S
        for row in rows:
            cursor.position = (row.finished_at, row.job_id)
        cursor.next_at = clock if len(rows) >= limit else clock + IDLE_S
        if clock >= cursor.anew_at and len(rows) < limit:
            cursor.position, cursor.anew_at = (float("-inf"), 0), clock + ANEW_S
