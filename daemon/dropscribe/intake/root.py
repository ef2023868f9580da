"""Check a watched folder itself: it exists, can be read, and is the same directory as before."""

# ruff: noqa: PTH116 - strings, as everywhere in this room

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from dropscribe.intake.folder_lock import Taken


@dataclass(frozen=True, slots=True)
class Root:
    """Identity of the directory at the folder's path."""

    device: int
    inode: int
    empty: bool

    def same_as(self, other: Root | None) -> bool:
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Reason why a folder cannot be watched now, and a remedy."""

    problem: str
    remedy: str
    #: True if another daemon watches the folder.
    taken: bool = False


MISSING = Trouble("the folder does not exist", "create or mount it, or take it out of the configuration")
NOT_A_FOLDER = Trouble("it is not a folder", "name a folder in the configuration")
UNMOUNTED = Trouble(
    "the folder is empty and on another file system than before, as if it had been unmounted",
    "mount it again; if it was moved on purpose, the first file in it is enough",
)


def taken_by_another(path: str, taken: Taken) -> Trouble:
    """Trouble of a folder that another daemon watches."""
    where = "it" if taken.directory == path else f"{taken.directory}, which contains it"
    return Trouble(
        f"another daemon ({taken.holder}) watches {where}",
        "stop that one, or watch the folder from one of the two only",
        taken=True,
    )


def inspect_root(path: str) -> Root | Trouble:
    """Examine the directory at `path`. Never raises OSError."""
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            return NOT_A_FOLDER
        with os.scandir(path) as entries:
            return Root(status.st_dev, status.st_ino, next(entries, None) is None)
    except FileNotFoundError:
        return MISSING
    except PermissionError:
        return Trouble("the folder may not be read", "let the daemon's user read and enter it")
    except OSError as e:
        return Trouble(f"the folder cannot be read: {e.strerror}", "check the disk or the network share")


def judge(before: Root | None, seen: Root | Trouble, *, inhabited: bool) -> Trouble | None:
    """Decide whether the folder is usable; return the reason if not.

    `before`: the last usable root; `inhabited`: files have been seen in it. An unmounted share exposes the directory
    under its mount point, usually empty: that must not count as the removal of every recording. A folder that was
    recreated on the same file system is accepted.
    """
    if isinstance(seen, Trouble):
        return seen
    if before is None or not seen.empty or seen.device == before.device:
        return None
    return UNMOUNTED if inhabited or not before.empty else None
