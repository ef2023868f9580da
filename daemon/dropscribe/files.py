"""Open, identify and hash files beneath a folder whose contents other people change while we work.

Users of a folder can rename directories and create symbolic links at any moment. A path that is checked and then opened
by name may lead elsewhere by then, to a file that the user may not read. Here the kernel resolves a path below a
directory descriptor and rejects links, so that check and use are one step.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from dropscribe.errors import RecordingChangedError, RecordingGoneError, StorageError

#: System call number of openat2(2), the same on every architecture.
_OPENAT2 = 437
#: From linux/openat2.h.
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
#: Attempts of openat2(2), which fails with EAGAIN if a rename races with the path resolution.
_TRIES = 16
#: Errors of systems without openat2(2): kernels before 5.6, and sandboxes that reject unknown system calls.
_UNAVAILABLE = frozenset({errno.ENOSYS, errno.EPERM})

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Flags for opening a directory only to reach what is in it: O_PATH needs only search permission.
STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Flags for reading. Non-blocking: neither for the other end of a pipe nor for a lease on the file.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

#: Errors of opening a path at which the recording no longer is: it does not exist, or there is a link on the way.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})

#: A file is hashed in pieces of this size, bytes: large enough for full disk speed and few changes of the thread that has the
#: interpreter, small enough to be read in a moment from a slow share.
PIECE_BYTES = 2 << 20
#: Interval, in pieces, at which hashing compares the file with its signature: a large file takes an hour to hash.
CHECK_PIECES = 32


class FileSignature(NamedTuple):
    """Size (bytes), mtime (ns) and inode of a file: as long as they stay the same, so does its content.

    A tuple, because intake compares one for each of up to a million files at every scan.
    """

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class Readers(NamedTuple):
    """Who may read a recording, by its permissions and its owner."""

    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


#: Readers of a recording whose permissions are unknown: its owner alone.
OWNER_ONLY = Readers(0o600, -1, -1)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_folder(folder: Path | str) -> int:
    """Descriptor of a configured folder. Links in its path are followed, since the administrator controls it."""
    return os.open(folder, _DIRECTORY)


def close(descriptor: int) -> None:
    """Close a descriptor and ignore errors: nothing was written through it."""
    # Not `suppress`, which takes longer than the call: it is made some ten times a recording.
    try:  # noqa: SIM105
        os.close(descriptor)
    except OSError:
        pass


@contextlib.contextmanager
def opened(folder: Path | str) -> Iterator[int]:
    """Context manager for the descriptor of `open_folder`."""
    descriptor = open_folder(folder)
    try:
        yield descriptor
    finally:
        close(descriptor)


def open_beneath(folder: int, relative: str | Path, flags: int, mode: int = 0o666) -> int:
    """Open `relative` below the directory descriptor `folder`; O_CLOEXEC is added to `flags`.

    Raises OSError: ELOOP if any component is a symbolic link (possibly ENOTDIR without openat2(2)), EXDEV if the path
    is absolute or leaves the folder, and the errors of open(2).
    """
    # Text, not `Path`: this is called some twenty times a recording, and pathlib takes ten times as long.
    name = os.fspath(relative) or "."
    if name.startswith("/") or (".." in name and ".." in name.split("/")):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    flags |= os.O_CLOEXEC
    if _has_openat2():
        return _openat2(folder, name, flags, mode)
    return _open_stepwise(folder, tuple(p for p in name.split("/") if p not in {"", "."}), flags, mode)


def status_beneath(folder: int, relative: str | Path) -> os.stat_result:
    """lstat(2) of `relative` below the directory descriptor `folder`. Raises OSError as `open_beneath` does."""
    descriptor = open_beneath(folder, relative, os.O_PATH | os.O_NOFOLLOW)
    try:
        return os.fstat(descriptor)
    finally:
        close(descriptor)


def is_there(path: Path, root: Path) -> bool:
    """True if `path` below `root` exists, even as a broken link. Raises OSError if that cannot be determined."""
    folder = open_folder(root)
    try:
        close(open_beneath(folder, relative_to(path, root), os.O_PATH | os.O_NOFOLLOW))
    except OSError as e:
        if e.errno not in GONE:
            raise
        return False
    finally:
        close(folder)
    return True


def link_target(folder: int, root: Path, relative: str | Path) -> Path:
    """Target of the symbolic link at `relative`, relative to `root`, whose descriptor is `folder`.

    The result may be outdated at once, so the caller must open it with `open_beneath`. Raises OSError: ELOOP if not
    `relative` itself but a directory on the way is a link, EXDEV if the target is outside `root`.
    """
    if not stat.S_ISLNK(status_beneath(folder, relative).st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(relative))
    inside = os.path.realpath(root).rstrip("/") + "/"
    target = os.path.realpath(inside + str(relative))
    if not target.startswith(inside):
        raise OSError(errno.EXDEV, "the link leads out of the folder", str(relative))
    return Path(target[len(inside) :])


def open_recording(path: Path, folder: Path | None) -> int:
    """Open a recording for reading, non-blocking, without leaving `folder`, its watched folder.

    A link to a file in the folder counts as that file; links to directories are not followed. If `folder` is None, the
    file was named by a person, and links are followed. The caller must check that it is a regular file and has the
    expected signature. Raises OSError, with an `errno` in `GONE` if there is no recording of the folder at `path`.
    """
    if folder is None:
        return os.open(path, _READ)
    relative = relative_to(path, folder)
    root = open_folder(folder)
    try:
        return open_beneath(root, relative, _READ)
    except OSError as e:
        if e.errno != errno.ELOOP:
            raise
        return open_beneath(root, link_target(root, folder, relative), _READ)
    finally:
        close(root)


def readers_of(path: Path, folder: Path | None) -> Readers:
    """Readers of a recording, found as `open_recording` does; `OWNER_ONLY` if it cannot be opened."""
    try:
        descriptor = open_recording(path, folder)
    except OSError:
        return OWNER_ONLY
    try:
        return Readers.of(os.fstat(descriptor))
    finally:
        close(descriptor)


def create_readable(directory: int, name: str, flags: int, readers: Readers | None) -> int:
    """Create file `name` in a directory so that nobody else than `readers` can read it; returns its descriptor.

    1. The umask and default ACLs of the directory apply as to any new file; `readers` None adds nothing to that.
    2. The group and others get no access if they cannot read the recording. With an ACL the group's bits are its mask,
       so that this limits its entries, too.
    3. If the new file has another group than the recording, whose group may read it and others may not, the file gets
       the recording's group, if this process may set it, else only the owner's permissions.

    Raises OSError as open(2) does.
    """
    if readers is None:
        return os.open(name, flags, 0o666, dir_fd=directory)
    if readers.mode & stat.S_IROTH or not readers.mode & stat.S_IRGRP:
        return os.open(name, flags, _mode_for(readers), dir_fd=directory)
    if _has_acl(directory, "default") or _group_of_new(directory) == readers.gid:
        return os.open(name, flags, 0o660, dir_fd=directory)
    descriptor = os.open(name, flags, 0o600, dir_fd=directory)
    with contextlib.suppress(OSError):
        os.fchown(descriptor, -1, readers.gid)
        os.fchmod(descriptor, 0o640)
    return descriptor


def _mode_for(readers: Readers) -> int:
    group = 0o060 if readers.mode & stat.S_IRGRP else 0
    others = 0o006 if readers.mode & stat.S_IROTH else 0
    return 0o600 | group | others


def _group_of_new(directory: int) -> int:
    """Group of a new file in a directory."""
    status = os.fstat(directory)
    return status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()


def _has_acl(descriptor: int, kind: str) -> bool:
    try:
        return bool(os.getxattr(descriptor, f"system.posix_acl_{kind}"))
    except OSError:
        return False


def open_directory(root: Path, directory: Path, *, make: bool = False) -> int:
    """Descriptor of `directory`, which is `root` or below it.

    `make`: create and sync missing directories. Raises OSError: ELOOP or ENOTDIR if there is a link on the way, EXDEV
    if it is not in `root`, and the errors of open(2) and mkdir(2).
    """
    if make and not root.is_dir():
        _make_root(root)
    with opened(root) as folder:
        return _open_directory(folder, relative_to(directory, root), make=make)


def relative_to(path: Path, folder: Path) -> str:
    """`path` relative to `folder`, for `open_beneath`; "." for `folder`. Raises OSError (EXDEV) if it is not in `folder`."""
    plain, root = _plain(path), _plain(folder)
    if plain == root:
        return "."
    above = root.rstrip("/") + "/"
    if not plain.startswith(above):
        raise OSError(errno.EXDEV, f"it does not lie in {folder}", str(path))
    return plain[len(above) :]


def _plain(path: Path) -> str:
    """A path as text, without "..": it has nothing else that could be left out."""
    text = str(path)
    return os.path.normpath(text) if ".." in text else text


def sync_directory(descriptor: int) -> None:
    """Sync the entries of a directory to disk. Raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as e:
        # Some network shares do not support this for directories, and offer no alternative.
        if e.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise


def _open_directory(folder: int, relative: str, *, make: bool) -> int:
    try:
        return open_beneath(folder, relative, _DIRECTORY)
    except FileNotFoundError:
        if not make or relative == ".":
            raise
    at = os.dup(folder)
    try:
        for part in relative.split("/"):
            below = _open_or_make(at, part)
            close(at)
            at = below
    except BaseException:
        close(at)
        raise
    return at


def _open_or_make(directory: int, name: str) -> int:
    """Descriptor of a directory in `directory`, made and synced if it is missing."""
    try:
        return open_beneath(directory, name, _DIRECTORY)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=directory)
        sync_directory(directory)
    return open_beneath(directory, name, _DIRECTORY)


def _make_root(root: Path) -> None:
    """Create a directory named in the configuration or by a person, and sync its parents."""
    missing = [d for d in (root, *root.parents) if not d.exists()]
    root.mkdir(parents=True, exist_ok=True)
    for made in missing:
        with opened(made.parent) as above:
            sync_directory(above)


def _nothing() -> None:
    pass


def piece_memory() -> memoryview:
    """Memory for the pieces of files that are hashed one after another: new memory for each is cleared each time.

    The kernel clears what is used of it, while other threads run.
    """
    return memoryview(mmap.mmap(-1, PIECE_BYTES))


def content_hash(
    path: Path,
    folder: Path | None,
    expected: FileSignature,
    between: Callable[[], None] = _nothing,
    memory: memoryview | None = None,
) -> str:
    """SHA-256 of a recording, hex, without leaving the watched `folder` (None: a person named the file).

    `between` is called before each piece; what it raises ends the work. `memory`: of `piece_memory`, for one thread.

    Raises RecordingChangedError when the file is not (or no longer) the one of `expected`, RecordingGoneError when it
    is missing, StorageError when it cannot be read.
    """
    try:
        descriptor = open_recording(path, folder)
        try:
            return _hash(descriptor, path, folder, expected, between, piece=memory or piece_memory())
        finally:
            os.close(descriptor)
    except OSError as e:
        if e.errno in GONE:
            raise RecordingGoneError("the file was removed", operation="hash", path=path) from e
        raise StorageError.from_system(
            e,
            operation="hash",
            path=path,
            remedy="make the file readable for the user the daemon runs as",
        ) from e


def _hash(
    descriptor: int,
    path: Path,
    folder: Path | None,
    expected: FileSignature,
    between: Callable[[], None],
    *,
    piece: memoryview,
) -> str:
    _require(descriptor, path, expected)
    digest = hashlib.sha256()
    left, pieces = expected.size, 0
    while left > 0:
        between()
        count = os.readv(descriptor, [piece[: min(left, PIECE_BYTES)]])
        if not count:
            break
        digest.update(piece[:count])
        left -= count
        pieces += 1
        if pieces % CHECK_PIECES == 0:
            _require(descriptor, path, expected)
            again = open_recording(path, folder)
            try:
                _require(again, path, expected)
            finally:
                os.close(again)
    _require(descriptor, path, expected)
    return digest.hexdigest()


def _require(descriptor: int, path: Path, expected: FileSignature) -> None:
    """Raise RecordingChangedError unless this is a regular file with the expected signature."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or FileSignature.of(status) != expected:
        raise RecordingChangedError("the file changed while it was read", operation="hash", path=path)


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
    how, size = _how(flags, mode), ctypes.c_size_t(ctypes.sizeof(_OpenHow))
    call = _libc().syscall
    name = ctypes.c_char_p(os.fsencode(relative))
    code = errno.EAGAIN
    for _ in range(_TRIES):
        descriptor: int = call(_OPENAT2, folder, name, how, size)
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(code, os.strerror(code), relative)


@cache
def _how(flags: int, mode: int) -> Any:
    """Pointer to the argument of openat2(2), which the kernel only reads."""
    # The kernel rejects a mode if nothing is created.
    creates = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    return ctypes.pointer(_OpenHow(flags, mode if creates else 0, resolve))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _open_stepwise(folder: int, parts: tuple[str, ...], flags: int, mode: int) -> int:
    """`open_beneath` without openat2(2): open one component after another, without following links."""
    if not parts:
        return os.open(".", flags | os.O_NOFOLLOW, mode, dir_fd=folder)
    at = os.dup(folder)
    try:
        for part in parts[:-1]:
            below = os.open(part, STEP, dir_fd=at)
            close(at)
            at = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW, mode, dir_fd=at)
    finally:
        close(at)
