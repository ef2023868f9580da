"""Records that intake takes and passes on. All frozen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from dropscribe.files import FileSignature


class Known(NamedTuple):
    """A recorded file, not passed on while its signature is the same. A tuple, because there may be a million."""

    path: str  #: absolute, as `os.fsdecode` gives it
    signature: FileSignature
    unfinished: bool  #: it has a job that must be cancelled if the file is gone


class Completeness(Enum):
    """Result of inspecting the container of a file that stopped changing."""

    WHOLE = "whole"
    INCOMPLETE = "incomplete"  #: the container declares more bytes than exist: still arriving, or truncated
    TEXT = "text"  #: no recording: a text file, with an extension that is also one of text
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a file is not complete yet."""

    code: str  #: stable: "quiet", "changing", "open", "cut_short", "done_marker", "state_file"
    text: str


@dataclass(frozen=True, slots=True)
class UnsettledFile:
    """A file that is not complete yet; `since`: when it was first seen, epoch seconds."""

    path: Path
    reason: WaitReason
    since: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete file, to be admitted. Sent again after each change of its signature."""

    folder: Path  #: the watched folder (root) it was found under
    path: Path  #: absolute, inside `folder`
    signature: FileSignature
    settle_s: float  #: from the first observation until completion, seconds, by the monotonic clock
    settled_at: float  #: epoch seconds


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that is not admitted, with the reason; sent once per (path, code)."""

    folder: Path
    path: Path
    code: str  #: stable: "extension", "empty", "link_outside", "special_file", "unreadable", …
    reason: str
    seen_at: float
    at_start: bool = False  #: possibly on record: found by the first scan, or its content could not be read


@dataclass(frozen=True, slots=True)
class Gone:
    """A file was removed that had been sent as `Arrival`, or was on record at the start with an unfinished job.

    Never sent while the folder itself is missing or unmounted (see `FolderHealth`).
    """

    folder: Path
    path: Path
    seen_at: float


class FolderState(Enum):
    """Whether the state of a folder's files is known."""

    WATCHED = "watched"
    AWAY = "away"  #: unknown: files count neither as present nor as gone
    TAKEN = "taken"  #: as `AWAY`, because another daemon watches the folder


@dataclass(frozen=True, slots=True)
class FolderHealth:
    """A watched folder's health, sent when it changes; `problem` is None while there is none."""

    folder: Path
    backend: str  #: "inotify" or "poll"
    problem: str | None
    remedy: str
    seen_at: float
    state: FolderState = FolderState.WATCHED


Notice = Arrival | Skip | Gone | FolderHealth
