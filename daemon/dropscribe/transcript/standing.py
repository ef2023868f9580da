"""Read what stands at a name of ours. Every such read goes through here.

Anybody who may write to a folder can put anything at a name that we use: a pipe that nobody writes to, a link to a device
without end, a sparse file of terabytes, a file that grows while it is read. What is not a plain file of the size that we
wrote is somebody else's without a look into it; the rest is read up to that size, never waiting.
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

#: What `digest` answers for a file that is not ours.
FOREIGN = ""
#: Largest file that may be ours where a version before recorded its hash and not its size, bytes: well above the
#: `json` of the longest recording.
MOST_UNRECORDED_BYTES = 128 << 20
#: A file is read in pieces of this size, bytes.
_PIECE_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What opening says of a file that is not for us to read: a link, no permission, the end of a socket or of a device that is
#: not there, a directory, a lease that another process holds.
NOT_OURS = frozenset(
    {
        errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EWOULDBLOCK,
        errno.ETXTBSY, errno.EOVERFLOW,
    }
)  # fmt: skip
#: ioctl_iflags(2): FS_IOC_GETFLAGS, and the flags that forbid replacing and removing a file.
_GET_FLAGS, _PROTECTED = 0x80086601, 0x10 | 0x20


def digest(directory: int, name: str, fits: Callable[[int], bool]) -> str | None:
    """SHA-256 (hex) of the file `name` in the directory descriptor, if `fits` says that one of so many bytes is read.

    None where nothing stands there; `FOREIGN` for all else: no plain file, another size, one that may not be read, is
    protected from us (chattr +i) or changes while it is read. Raises OSError when the disk does not answer.
    """
    found = hashlib.sha256()
    read = _read(directory, name, fits, found.update)
    if read is None:
        return None
    return found.hexdigest() if read else FOREIGN


def contents(path: Path, most: int) -> bytes | None:
    """The bytes of a file of ours that has `most` at most; None where nothing, or something else, stands there.

    Links on the way are followed, one at `path` itself is not. Raises OSError when the disk does not answer.
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
    """Which file of ours stands at `name`: its SHA-256; None where nothing does, `FOREIGN` where another does.

    `ours`: SHA-256 (hex) of what we wrote there → its size in bytes, None where that was not recorded.
    """
    sizes = {MOST_UNRECORDED_BYTES if size is None else size for size in ours.values()}
    unrecorded = None in ours.values()

    def fits(size: int) -> bool:
        return size in sizes or (unrecorded and size <= MOST_UNRECORDED_BYTES)

    found = digest(directory, name, fits)
    return found if found is None or found in ours else FOREIGN


def standing_at(path: Path, root: Path, ours: Mapping[str, int | None]) -> str | None:
    """`standing` at a path beneath `root`; None as well where its directory is not there. Raises OSError."""
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
    """Whether anything stands at `path` beneath `root`; False as well where `root` is not there: publishing makes it.

    Raises OSError where that cannot be seen.
    """
    try:
        return is_there(path, root)
    except FileNotFoundError:
        return False


def _read(
    directory: int, name: str, fits: Callable[[int], bool], take: Callable[[bytes], object]
) -> bool | None:
    """Whether the file is what `digest` says it must be, and was read whole; None where nothing stands there."""
    try:
        # Before it is opened: opening a device may do something.
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
        while left > 0 and (piece := os.read(descriptor, min(left, _PIECE_BYTES))):
            take(piece)
            left -= len(piece)
        return left == 0 and not os.read(descriptor, 1)
    finally:
        close(descriptor)


def _may_be(status: os.stat_result, fits: Callable[[int], bool]) -> bool:
    return stat.S_ISREG(status.st_mode) and fits(status.st_size)


def _is_protected(descriptor: int) -> bool:
    flags = array.array("l", [0])
    # Many file systems know no such flags.
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
    return bool(flags[0] & _PROTECTED)
