"""Putting transcript files on disk: each whole or absent, and never over somebody else's file.

Every file is written under a temporary name in its own directory, brought to the disk, and only then given its
name, in one step that fails when the name is in use. The directories are brought to the disk last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import OutputTakenError, StorageError
from daemon.transcript.naming import NAME_BYTES
from daemon.transcript.rename import place_new

_TEMPORARY = re.compile(r"\..*\.dropscribe\.tmp", re.DOTALL)
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: What shares without locks answer; there nothing tells a stale file from one in use, and stale ones must go.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

#: A file of ours is hashed in pieces of this size, bytes.
_PIECE_BYTES = 1 << 20

_ELSEWHERE = "or set output_dir in the folder's profile"


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file to be published. `replaces`: SHA-256 (hex) of the file of ours that may stand there now, if any."""

    path: Path
    data: bytes
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class _Written:
    """A temporary file whose whole content is on disk."""

    pending: PendingFile
    temporary: Path
    identity: tuple[int, int]  #: device and inode


def publish(files: Sequence[PendingFile]) -> bool:
    """Publish `files` together; when this returns they are on disk under their names.

    Missing directories are made. Returns False when a temporary could not be removed: `sweep` its directory later.
    After an error that may be so, too; names that did not exist before do not exist then, and a file that had been
    replaced keeps its new, whole content.

    Raises OutputTakenError when a name belongs to somebody else (plan another one), StorageError when the disk
    refuses; the error's `path` names the file.
    """
    with ExitStack() as held, ExitStack() as undo:
        written = [_write(f, held) for f in files]
        for w in written:
            _give_name(w, undo)
        # Before the directories are brought to the disk, so that no temporary comes back after a power cut.
        held.close()
        for directory in dict.fromkeys(f.path.parent for f in files):
            with _reported("publish", directory):
                _fsync_directory(directory)
        undo.pop_all()
    return not any(os.path.lexists(w.temporary) for w in written)


def sweep(directory: Path) -> int:
    """Remove temporaries that a killed process left in `directory`; how many. Those in use are left alone.

    Raises StorageError when the directory cannot be read or a temporary cannot be removed.
    """
    removed = 0
    with _reported("clean up", directory):
        stale = [directory / e.name for e in os.scandir(directory) if _TEMPORARY.fullmatch(e.name)]
    for path in stale:
        with _reported("clean up", path):
            removed += _remove_stale(path)
    return removed


def withdraw(path: Path, ours: Collection[str]) -> bool:
    """Remove the file at `path` for good if its SHA-256 (hex) is among `ours`; whether we have none there now.

    False says that its directory is not there (a share not mounted?), so that nothing can be known. A file that
    is not ours stays. Raises StorageError when the disk refuses.
    """
    with _reported("remove", path):
        if not path.parent.is_dir():
            return False
        if _digest(path) in ours:
            path.unlink(missing_ok=True)
            _fsync_directory(path.parent)
    return True


def temporary_path(path: Path) -> Path:
    """Where a file stands while it is written: hidden, in the same directory, with a name that fits."""
    name = f".{path.name}.dropscribe.tmp"
    if len(os.fsencode(name)) > NAME_BYTES:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.dropscribe.tmp"
    return path.with_name(name)


def _write(pending: PendingFile, held: ExitStack) -> _Written:
    """Write a temporary and bring it to the disk. `held` closes and removes it, whatever becomes of it."""
    temporary = temporary_path(pending.path)
    with _reported("write", pending.path):
        _make_directory(pending.path.parent)
        try:
            descriptor = _open_new(temporary)
        except FileExistsError as e:
            # Some other thread or process is about to take the very name.
            raise _taken(pending.path) from e
        held.callback(_close, descriptor)
        held.callback(_remove, temporary)
        # Tells `sweep` in another process that somebody is at work. Some network shares know no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rest = memoryview(pending.data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
        return _Written(pending, temporary, _identity(os.fstat(descriptor)))


def _open_new(temporary: Path) -> int:
    # Readable as the daemon's umask says, like anything else it writes.
    try:
        return os.open(temporary, _OPEN_NEW, 0o666)
    except FileExistsError:
        _remove_stale(temporary)
    return os.open(temporary, _OPEN_NEW, 0o666)


def _give_name(written: _Written, undo: ExitStack) -> None:
    path, replaces = written.pending.path, written.pending.replaces
    with _reported("publish", path):
        standing = _digest(path) if replaces is not None else None
        if standing is not None:
            if standing != replaces:
                raise _taken(path)
            os.replace(written.temporary, path)  # noqa: PTH105 - named as the system call it stands for
            return
        try:
            place_new(written.temporary, path)
        except FileExistsError as e:
            # A network share may have carried out the call whose answer was lost; then the file is this one.
            if _identity(os.lstat(path)) != written.identity:
                raise _taken(path) from e
        undo.callback(_take_back, path, written.identity)


def _taken(path: Path) -> OutputTakenError:
    return OutputTakenError(
        "a file of somebody else has that name",
        operation="publish",
        path=path,
        remedy="the transcript gets another name; nothing needs to be done",
    )


def _digest(path: Path) -> str | None:
    """SHA-256 of what stands at `path`: None if nothing does, "" if it is no plain file that we may read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as e:
        if e.errno in {errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO}:
            return ""
        raise
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        digest = hashlib.sha256()
        while piece := os.read(descriptor, _PIECE_BYTES):
            digest.update(piece)
        return digest.hexdigest()


def _take_back(path: Path, identity: tuple[int, int]) -> None:
    """Undo a name that was given, unless somebody put another file there since.

    Where that fails the error that led here matters more; the file is whole, and on record as ours.
    """
    with contextlib.suppress(OSError):
        if _identity(os.lstat(path)) == identity:
            path.unlink()


def _remove_stale(temporary: Path) -> bool:
    """Remove a temporary unless some process holds it; whether it was removed. Raises OSError."""
    try:
        # For writing, because network shares lock nothing that is open for reading only.
        descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        temporary.unlink()
    except BlockingIOError:
        return False
    except OSError as e:
        if e.errno not in _NO_LOCKS:
            raise
        temporary.unlink()
    finally:
        os.close(descriptor)
    return True


def _remove(temporary: Path) -> None:
    # After an error, that error is the one to tell; `sweep` finds what stays.
    with contextlib.suppress(OSError):
        temporary.unlink()


def _close(descriptor: int) -> None:
    # What was written is on the disk by then: fsync has answered for it.
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _make_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _fsync_directory(made.parent)


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as e:
        # Some network shares cannot do this for directories; there is nothing better to be had there.
        if e.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)


@contextlib.contextmanager
def _reported(operation: str, path: Path) -> Iterator[None]:
    """Turn what the system says into a StorageError with a remedy."""
    try:
        yield
    except OSError as e:
        raise StorageError(
            e.strerror or str(e), operation=operation, path=path, remedy=_remedy(e.errno)
        ) from e


def _remedy(code: int | None) -> str:
    match code:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space on that disk (or raise the quota)"
        case errno.EROFS:
            return f"the file system is read-only: mount it writable, {_ELSEWHERE}"
        case errno.EACCES | errno.EPERM:
            return f"let the daemon's user write there, {_ELSEWHERE}"
        case errno.ENOENT:
            return "the folder is not there any more: bring it back, or mount it again"
        case errno.EEXIST | errno.ENOTDIR:
            return f"a file stands where a folder is needed: move it away, {_ELSEWHERE}"
        case errno.ENAMETOOLONG:
            return f"shorten the names of the folders, {_ELSEWHERE}"
        case errno.EIO:
            return "the disk reports errors: see the kernel's log"
        case _:
            return "see that the disk is mounted and can be written to"
