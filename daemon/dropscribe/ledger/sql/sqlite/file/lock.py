"""Lock a database for one daemon."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from dropscribe.errors import AlreadyRunningError, StorageError


class DatabaseLock:
    """A lock held until `close` or the end of the process, however it ends. Child processes do not inherit it over exec."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def verify(self, operation: str) -> None:
        """Nothing to do: the kernel keeps the lock for as long as the process runs."""

    def kept(self) -> tuple[str, ...]:
        """None: a file is the database of one host."""
        return ()

    def close(self) -> None:
        """Release the lock; may be called twice.

        The lock file stays: if it were removed, two processes could lock two files of the same name.
        """
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, slots=True)
class LockOwner:
    """The process that holds a lock. `pid` None: it has not written its number yet."""

    pid: int | None


def owner(path: Path) -> LockOwner | None:
    """The process that holds the lock of the database at `path`; None when it is free. Raises OSError.

    Takes the lock, shared and for an instant; a daemon that starts in that instant finds the database locked.
    """
    try:
        descriptor = os.open(_lock_file(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno == errno.ELOOP:  # a link, which no daemon takes for its lock file
            return None
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    else:
        return None
    finally:
        os.close(descriptor)
    return LockOwner(int(said) if said.isdecimal() else None)


def holder(path: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """Process id of the daemon that holds the lock of the database at `path`; None when it is free or that is unknown.

    Reads the kernel's list of locks instead of trying the lock, so that a daemon that starts meanwhile is not refused.
    """
    try:
        inode = _lock_file(path).stat().st_ino
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:  # without a lock file no daemon has run, without the list it is unknown
        return None
    # "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; waiting ones have "->" as second field. The device is
    # not compared, because file systems like btrfs show another one there than to stat.
    for fields in map(str.split, lines):
        if fields[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


def has_lock_file(path: Path) -> bool:
    """True when a daemon has worked on a database of this name, which may have been removed since."""
    return _lock_file(path).exists()


def _lock_file(path: Path) -> Path:
    # Two names of one database must have one lock.
    real = Path(os.path.realpath(path))
    return real.with_name(real.name + ".lock")


def lock_database(path: Path) -> DatabaseLock:
    """Lock `<path>.lock` for this process and write its pid into it.

    Raises AlreadyRunningError naming the process that holds it, StorageError when the file cannot be created.
    """
    file = _lock_file(path)
    try:
        # No link is followed, and only a regular file is written to, because it is truncated below.
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise _foreign(file, "it is a symbolic link, which is not followed") from e
        if e.errno in {errno.ENXIO, errno.EISDIR}:
            raise _foreign(file, "it is not a regular file") from e
        raise StorageError.from_system(
            e,
            operation="lock database",
            path=file,
            remedy="make the folder of the database exist and writable for this user",
        ) from e
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(fd)
        reason = "it is a hard link to another file" if status.st_nlink > 1 else "it is not a regular file"
        raise _foreign(file, reason)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        who = f"process {holder}" if holder else "another process"
        raise AlreadyRunningError(
            f"{who} is already running on this database",
            operation="lock database",
            path=path,
            remedy=f"stop {who}, or name another database",
        ) from e
    except BaseException:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return DatabaseLock(file, fd)


def _foreign(file: Path, reason: str) -> StorageError:
    """The error for something at the path of the lock file that no daemon has put there."""
    return StorageError(reason, operation="lock database", path=file, remedy="move it away")
