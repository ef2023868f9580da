"""Identify the file at an output path safely. Every read of an output path goes through this module.

Users with write access to a folder can put anything at such a path: a pipe without a writer, a link to an endless
device, a sparse file of terabytes, a file that grows while it is read. Anything but a regular file of the recorded
size is foreign and is not opened; a regular file is read up to that size, without blocking.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from dropscribe.files import GONE, close, is_there, open_directory

#: Result of `digest` for a file that is not ours.
FOREIGN = ""
#: Largest file that is read where an earlier version recorded its hash but not its size, bytes: well above the
#: `json` of the longest recording.
MOST_UNRECORDED_BYTES = 128 << 20
#: Bytes per read.
_CHUNK_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Errors of open(2) on a file that cannot be ours: a link, no permission, a socket, a device that does not exist, a
#: directory, a lease held by another process.
NOT_OURS = frozenset(
    {
        errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EWOULDBLOCK,
        errno.ETXTBSY, errno.EOVERFLOW,
    }
)  # fmt: skip
#: ioctl_iflags(2): FS_IOC_GETFLAGS, and the flags that forbid replacing and removing a file.
_GET_FLAGS, _PROTECTED = 0x80086601, 0x10 | 0x20


def digest(directory: int, name: str, fits: Callable[[int], bool]) -> str | None:
    """SHA-256 (hex) of the file `name` in the directory descriptor, if `fits` accepts its size in bytes.

    None if there is no file; `FOREIGN` if it is not a regular file, has another size, cannot be read, is immutable
    (chattr +i) or changes while it is read. Raises OSError if the disk fails.
    """
    found = hashlib.sha256()
    read = _read(directory, name, fits, found.update)
    if read is None:
        return None
    return found.hexdigest() if read else FOREIGN


def contents(path: Path, most: int) -> bytes | None:
    """Content of a regular file of at most `most` bytes; None if there is no such file.

    Links in the parent path are followed, one at `path` itself is not. Raises OSError if the disk fails.
    """
    found = bytearray()
    try:
        directory = open_directory(path.parent, path.parent)
    except FileNotFoundError:
        return None
    try:
        return bytes(found) if _read(directory, path.name, lambda size: size <= most, found.extend) else None
    finally:
        close(directory)


def standing(directory: int, name: str, ours: Mapping[str, int | None]) -> str | None:
    """SHA-256 of our file at `name`; None if there is no file, `FOREIGN` if it is not one of `ours`.

    `ours`: SHA-256 (hex) of each file that we wrote there → its size in bytes, None if that was not recorded.
    """
    sizes = {MOST_UNRECORDED_BYTES if size is None else size for size in ours.values()}
    unrecorded = None in ours.values()

    def fits(size: int) -> bool:
        return size in sizes or (unrecorded and size <= MOST_UNRECORDED_BYTES)

    found = digest(directory, name, fits)
    return found if found is None or found in ours else FOREIGN


def standing_at(path: Path, root: Path, ours: Mapping[str, int | None]) -> str | None:
    """`standing` for a path below `root`; None also if its directory does not exist. Raises OSError."""
    try:
        directory = open_directory(root, path.parent)
    except OSError as e:
        if e.errno in GONE:
            return None
        raise
    try:
        return standing(directory, path.name, ours)
    finally:
        close(directory)


def occupied(path: Path, root: Path) -> bool:
    """True if anything exists at `path` below `root`; False also if `root` is missing: publishing creates it.

    Raises OSError if that cannot be determined.
    """
    try:
        return is_there(path, root)
    except FileNotFoundError:
        return False


def _read(
    directory: int, name: str, fits: Callable[[int], bool], take: Callable[[bytes], object]
) -> bool | None:
    """Pass the file's content to `take`; False if it is not as `digest` requires, None if there is no file."""
    try:
        # Checked before opening: opening a device can have side effects.
        if not _may_be(os.stat(name, dir_fd=directory, follow_symlinks=False), fits):
            return False
        descriptor = os.open(name, _OPEN, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno in NOT_OURS:
            return False
        raise
    try:
        status = os.fstat(descriptor)
        if not _may_be(status, fits) or _is_protected(descriptor):
            return False
        left = status.st_size
        while left > 0 and (chunk := os.read(descriptor, min(left, _CHUNK_BYTES))):
            take(chunk)
            left -= len(chunk)
        return left == 0 and not os.read(descriptor, 1)
    finally:
        close(descriptor)


def _may_be(status: os.stat_result, fits: Callable[[int], bool]) -> bool:
    return stat.S_ISREG(status.st_mode) and fits(status.st_size)


def _is_protected(descriptor: int) -> bool:
    flags = array.array("l", [0])
    # Many file systems do not support these flags.
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
    return bool(flags[0] & _PROTECTED)
