"""Open files beneath a folder whose contents other people change while we work.

People who drop recordings can rename directories and plant symbolic links at any moment. A path that was checked and is
then opened by name may lead somewhere else by then, to what the person who dropped it may not read. Here the kernel resolves
a path beneath a directory descriptor and refuses links on the way, so that check and use are one step.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path

#: System call number of openat2(2), the same on every architecture.
_OPENAT2 = 437
#: From linux/openat2.h.
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
#: openat2(2) answers EAGAIN when a rename elsewhere raced with the resolution; how often it is asked again.
_TRIES = 16
#: What systems without openat2(2) answer: kernels before 5.6, and sandboxes that refuse unknown calls.
_UNAVAILABLE = frozenset({errno.ENOSYS, errno.EPERM})

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_folder(folder: Path) -> int:
    """Descriptor of a folder that the configuration names. Links on the way to it are the administrator's: followed."""
    return os.open(folder, _DIRECTORY)


def open_beneath(folder: int, relative: Path, flags: int, mode: int = 0o666) -> int:
    """Open `relative` beneath the directory descriptor `folder`; O_CLOEXEC is added to `flags`.

    Raises OSError: ELOOP when any component is a symbolic link (ENOTDIR may stand for it where openat2(2) is missing),
    EXDEV when the path is absolute or leaves the folder, and whatever open(2) raises.
    """
    parts = relative.parts
    if relative.is_absolute() or ".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(relative))
    flags |= os.O_CLOEXEC
    if _has_openat2():
        return _openat2(folder, str(relative), flags, mode)
    return _open_stepwise(folder, parts, flags, mode)


@cache
def _has_openat2() -> bool:
    root = os.open("/", _DIRECTORY)
    try:
        os.close(_openat2(root, ".", _DIRECTORY, 0))
    except OSError as e:
        return e.errno not in _UNAVAILABLE
    finally:
        os.close(root)
    return True


def _openat2(folder: int, relative: str, flags: int, mode: int) -> int:
    # The kernel refuses a mode where nothing is created.
    creates = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
    how = _OpenHow(
        flags, mode if creates else 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    )
    call = ctypes.CDLL(None, use_errno=True).syscall
    name = os.fsencode(relative)
    code = errno.EAGAIN
    for _ in range(_TRIES):
        descriptor: int = call(
            _OPENAT2, folder, ctypes.c_char_p(name), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
        )
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(code, os.strerror(code), relative)


def _open_stepwise(folder: int, parts: tuple[str, ...], flags: int, mode: int) -> int:
    """The same without openat2(2): one component after another, following no link."""
    if not parts:
        return os.open(".", flags | os.O_NOFOLLOW, mode, dir_fd=folder)
    at = os.dup(folder)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW, mode, dir_fd=at)
    finally:
        os.close(at)
