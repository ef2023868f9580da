"""Rename a file atomically to a name that must not exist yet, on any file system."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

#: Errors of link(2) on file systems without hard links (FAT, exFAT, some FUSE and network ones).
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
#: Errors of renameat2(2) on kernels and file systems without RENAME_NOREPLACE.
_NO_FLAG = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_RENAME_NOREPLACE = 1


def place_new(directory: int, source: str, target: str) -> None:
    """Link or rename `source` to `target`, both names in the directory descriptor. `source` may remain.

    Raises FileExistsError if `target` exists, which is left as it is, or any other OSError.
    """
    try:
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
    else:
        return
    if not rename_without_replacing(directory, source, target):
        _claim_then_replace(directory, source, target)


def replace(directory: int, source: str, target: str) -> None:
    """rename(2) within the directory descriptor."""
    os.replace(source, target, src_dir_fd=directory, dst_dir_fd=directory)


def rename_new(directory: int, source: str, target: str, to: int) -> None:
    """Rename `source` in one directory descriptor to `target` in another, or the same, without replacing anything.

    Raises FileExistsError if `target` exists, which is left as it is, OSError with EXDEV between two file systems, or any other
    OSError. On file systems without RENAME_NOREPLACE a kill may leave both names of the file, if it has links, and between the
    look and the rename another program may lose its file of the name, if it has none.
    """
    if rename_without_replacing(directory, source, target, to):
        return
    try:
        os.link(source, target, src_dir_fd=directory, dst_dir_fd=to, follow_symlinks=False)
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
    else:
        os.unlink(source, dir_fd=directory)
        return
    with contextlib.suppress(FileNotFoundError):
        os.stat(target, dir_fd=to, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target, src_dir_fd=directory, dst_dir_fd=to)


def rename_without_replacing(directory: int, source: str, target: str, to: int | None = None) -> bool:
    """renameat2(2) with RENAME_NOREPLACE, into the directory `to` (default: the same); False where it is unsupported.

    Raises OSError (FileExistsError).
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    into = directory if to is None else to
    ctypes.set_errno(0)
    if call(directory, os.fsencode(source), into, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_FLAG:
        return False
    raise OSError(code, os.strerror(code), source, None, target)


def _claim_then_replace(directory: int, source: str, target: str) -> None:
    """Last resort: create an empty file, then replace it. A kill between the two leaves it to `publish.sweep`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(target, flags, 0o600, dir_fd=directory))
    try:
        replace(directory, source, target)
    except OSError:
        # The first error is the one to report; at worst an empty file remains.
        with contextlib.suppress(OSError):
            os.unlink(target, dir_fd=directory)
        raise
