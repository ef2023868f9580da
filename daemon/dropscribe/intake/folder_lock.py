"""One daemon a folder: a lock on the directory itself, so that no file is left in it and a read-only folder can be held.

It is `flock(2)`, which ends with the process however that ends, and is seen between users and between containers of
one machine. Daemons on different machines that share a folder do not see each other. While it is held, the file
system it lies on is in use: unmounting it needs `umount --lazy`, or the daemon stopped.
"""

# ruff: noqa: PTH120 - strings, as everywhere in this room

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOCKS = Path("/proc/locks")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

#: (device, inode) of a directory.
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """Another process holds `directory`; `pid` is None where it cannot be seen (another container)."""

    directory: str
    pid: int | None

    @property
    def holder(self) -> str:
        if self.pid == os.getpid():
            return "this one, under another name"
        return "another process" if self.pid is None else f"process {self.pid}"


class FolderLock:
    """A directory that is ours until `close`. Owned by one thread."""

    def __init__(self, holds: FolderLocks, identity: Identity, descriptor: int) -> None:
        self.identity = identity
        self._holds = holds
        self._descriptor = descriptor

    def close(self) -> None:
        """Let others have it; may be called twice."""
        if self._descriptor >= 0:
            self._holds.forget(self.identity)
            os.close(self._descriptor)
            self._descriptor = -1


class FolderLocks:
    """Which directories this process holds. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By how many threads each is held, or just being taken.
        self._ours: Counter[Identity] = Counter()

    def take(self, path: str) -> FolderLock | Taken | None:
        """Hold a directory; or who holds it, or one that it lies in.

        None where the file system knows no such locks: then nobody can be seen. Raises OSError when it cannot be opened.
        """
        descriptor = os.open(path, _FLAGS)
        try:
            status = os.fstat(descriptor)
            identity = status.st_dev, status.st_ino
            # Noted first and locked without `_lock`: a share that hangs keeps even this call, and must not keep other folders.
            with self._lock:
                self._ours[identity] += 1
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                self.forget(identity)
                return Taken(path, _holder(identity)) if isinstance(e, BlockingIOError) else None
            hold, descriptor = FolderLock(self, identity, descriptor), -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        # After our own: of two that start at once, one inside the other, at least one sees the other.
        for above in _above(path):
            taken = self.taken(above)
            if taken is not None:
                hold.close()
                return taken
        return hold

    def taken(self, directory: str, opened: int | None = None) -> Taken | None:
        """Whether another process holds this very directory, of which `opened` may be a descriptor.

        What cannot be opened is nobody's.
        """
        try:
            # Locks belong to what was opened: the caller's descriptor must not come to hold one.
            descriptor = os.open(directory if opened is None else ".", _FLAGS, dir_fd=opened)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            identity = status.st_dev, status.st_ino
            with self._lock:
                if self._ours[identity]:
                    return None
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Taken(directory, _holder(identity))
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None

    def forget(self, identity: Identity) -> None:
        """This directory is not ours any more."""
        with self._lock:
            self._ours[identity] -= 1
            if self._ours[identity] <= 0:
                del self._ours[identity]


def _above(path: str) -> Iterator[str]:
    """The directories that `path` really lies in, innermost first."""
    directory = os.path.realpath(path)
    while (parent := os.path.dirname(directory)) != directory:
        yield parent
        directory = parent


def _holder(identity: Identity) -> int | None:
    """Who has the directory locked, as far as the kernel says."""
    device, inode = identity
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        # proc_locks(5): number: FLOCK ADVISORY WRITE pid major:minor:inode start end
        fields = line.split()
        if fields[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and fields[5] == wanted:
            pid = int(fields[4])
            return pid if pid > 0 else None
    return None
