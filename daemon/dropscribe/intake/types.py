"""What intake says: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from dropscribe.files import FileSignature


class Known(NamedTuple):
    """A file on record, not to be handed over while its signature stays the same. There may be a million of these."""

    path: str  #: absolute, as `os.fsdecode` gives it
    signature: FileSignature
    unfinished: bool  #: there is work to give up should it be gone


class Completeness(Enum):
    """What a look into the container says of a file that stopped changing."""

    WHOLE = "whole"
    INCOMPLETE = "incomplete"  #: the container declares more than is there: still arriving, or cut
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete file, to be admitted. Sent again after any change of its signature."""

    folder: Path  #: the watched folder (root) it was found under
    path: Path  #: absolute, inside `folder`
    signature: FileSignature
    settle_s: float  #: from our first sight of it until now, seconds: not the difference of two times of day
    settled_at: float  #: epoch seconds


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that will not be transcribed as it stands, and why; sent once per (path, code)."""

    folder: Path
    path: Path
    code: str  #: stable: "extension", "empty", "link_outside", "special_file", "unreadable", …
    reason: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class Gone:
    """A file that had been sent as `Arrival` (or was on record at start, unfinished) is no longer there.

    Never sent for a folder that is itself missing or was unmounted (see `FolderHealth`).
    """

    folder: Path
    path: Path
    seen_at: float


class FolderState(Enum):
    """What can be said of a folder's files."""

    WATCHED = "watched"
    AWAY = "away"  #: nothing: they are neither there nor gone
    TAKEN = "taken"  #: as `AWAY`, because another daemon watches the folder


@dataclass(frozen=True, slots=True)
class FolderHealth:
    """A watched folder changed its condition; `problem` is None when all is well."""

    folder: Path
    backend: str  #: "inotify" or "poll"
    problem: str | None
    remedy: str
    seen_at: float
    state: FolderState = FolderState.WATCHED


Notice = Arrival | Skip | Gone | FolderHealth
