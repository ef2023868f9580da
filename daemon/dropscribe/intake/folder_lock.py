"""Lock watched folders, so that each has one daemon. The directory itself is locked: no lock file, read-only works.

The lock is `flock(2)`: it ends with the process in any case, and works across users and containers of one machine,
but not across machines that share a folder. While it is held the file system is in use: to unmount it, stop the
daemon or use `umount --lazy`.
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
    """Another process has locked `directory`; `pid` is None if it is not visible (another container)."""

    directory: str
    pid: int | None

    @property
    def holder(self) -> str:
        if self.pid == os.getpid():
            return "this one, under another name"
        return "another process" if self.pid is None else f"process {self.pid}"


class FolderLock:
    """Lock on a directory until `close`. Owned by one thread."""

    def __init__(self, locks: FolderLocks, identity: Identity, descriptor: int) -> None:
        self.identity = identity
        self._folder_locks = locks
        self._descriptor = descriptor

    def close(self) -> None:
        """Release the lock. Idempotent."""
        if self._descriptor >= 0:
            self._folder_locks.forget(self.identity)
            os.close(self._descriptor)
            self._descriptor = -1


class FolderLocks:
    """Directories locked by this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Number of threads that have locked each directory or are about to.
        self._ours: Counter[Identity] = Counter()

    def take(self, path: str) -> FolderLock | Taken | None:
        """Lock a directory; return the lock, or the holder of a lock on it or on a parent directory.

        Returns None if the file system does not support locks. Raises OSError if the directory cannot be opened.
        """
        descriptor = os.open(path, _FLAGS)
        try:
            status = os.fstat(descriptor)
            identity = status.st_dev, status.st_ino
            # Counted first, then locked outside `_lock`: flock blocks on a share that hangs, which must not block other
            # folders.
            with self._lock:
                self._ours[identity] += 1
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                self.forget(identity)
                return Taken(path, _holder(identity)) if isinstance(e, BlockingIOError) else None
            lock, descriptor = FolderLock(self, identity, descriptor), -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        # Checked after locking: of two daemons that start at once on nested folders, at least one detects the other.
        for above in _above(path):
            taken = self.taken(above)
            if taken is not None:
                lock.close()
                return taken
        return lock

    def taken(self, directory: str, opened: int | None = None) -> Taken | None:
        """Holder of a lock on this directory in another process; None if there is none or it cannot be opened.

        `opened`: a descriptor of the directory, if the caller has one.
        """
        try:
            # A new open file description: flock locks belong to it, and the caller's must not get a lock.
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
        """Note that a thread released this directory."""
        with self._lock:
            self._ours[identity] -= 1
            if self._ours[identity] <= 0:
                del self._ours[identity]


def _above(path: str) -> Iterator[str]:
    """Parent directories of the real path, innermost first."""
    directory = os.path.realpath(path)
    while (parent := os.path.dirname(directory)) != directory:
        yield parent
        directory = parent


def _holder(identity: Identity) -> int | None:
    """Process id that has locked the directory, from /proc/locks; None if not visible."""
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
