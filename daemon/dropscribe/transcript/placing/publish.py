"""Publish transcript files: each is whole or absent, and no foreign file is overwritten.

Each file is written under a temporary name in its own directory, synced, and then given its name in one atomic step
that fails if the name is in use. The directories are synced last. Directories are opened below the configured root
without following links, and all operations go through their descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

from dropscribe.errors import OutputNameError, OutputTakenError, StorageError
from dropscribe.files import GONE, Readers, close, create_readable, open_directory, sync_directory
from dropscribe.transcript.naming import NAME_BYTES
from dropscribe.transcript.naming import TEMPORARY_END as _ENDING
from dropscribe.transcript.placing.rename import place_new, replace
from dropscribe.transcript.placing.standing import MOST_UNRECORDED_BYTES, NOT_OURS, digest, standing

_TEMPORARY = re.compile(r"\..*\.dropscribe\.tmp", re.DOTALL)
#: Middle of the temporary of a long name.
_SHORTENED = re.compile(r"[0-9a-f]{32}")
_OPEN_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Errors of file systems without locks. There a stale file cannot be told from one in use, and is removed.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

#: Errors of names that a file system does not allow: too long, or with characters that it does not have.
_NOT_ALLOWED = frozenset({errno.ENAMETOOLONG, errno.EILSEQ})
_ELSEWHERE = "or set output_dir in the folder's profile"

_guard = threading.Lock()
#: Directories that are being swept.
_sweeps: WeakValueDictionary[Path, threading.Lock] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file to be published.

    `replaces`: SHA-256 (hex) of our file that may be replaced, if any, and `replaces_size` its size in bytes, if
    recorded. `root`: the directory below which no link is followed; None: the file's own directory, given by a
    person. `readers`: those of its recording, nobody else gets to read it; None: as any new file.
    """

    path: Path
    data: bytes
    replaces: str | None = None
    replaces_size: int | None = None
    root: Path | None = None
    readers: Readers | None = None


#: Root and directory, as text: several files of each recording look theirs up.
_DirectoryPlace = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Written:
    """A temporary file whose content has been written."""

    pending: PendingFile
    directory: int  #: descriptor
    temporary: str
    descriptor: int  #: of the file
    identity: tuple[int, int]  #: device and inode
    name: str
    place: _DirectoryPlace
    #: Not empty once the temporary could not be removed.
    left: list[OSError]


class _Directories:
    """The open directories of a publication. Thread-safe."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._descriptors: dict[_DirectoryPlace, int] = {}

    def of(self, place: _DirectoryPlace) -> int:
        """Descriptor of a directory, created if missing. Raises OSError."""
        with self._lock:
            if place not in self._descriptors:
                root, directory = map(Path, place)
                self._descriptors[place] = open_directory(root, directory, make=True)
                self._opened.callback(close, self._descriptors[place])
            return self._descriptors[place]

    def sync(self, place: _DirectoryPlace) -> None:
        """Sync one of them. Raises StorageError, also when it is no longer at its path."""
        root, directory = map(Path, place)
        descriptor = self._descriptors[place]
        with _reported("publish", directory):
            sync_directory(descriptor)
            again = open_directory(root, directory)
            try:
                if not os.path.sameopenfile(again, descriptor):
                    raise OSError(errno.ENOENT, "the folder was moved meanwhile")
            finally:
                close(again)


@dataclass(frozen=True, slots=True)
class Placed:
    """Files that are written and have their names, in directories that are not synced yet."""

    directories: tuple[_DirectoryPlace, ...]
    undo: ExitStack  #: takes new names back
    #: False if a temporary could not be removed: the caller must `sweep` the directories later.
    clean: bool


class Publication:
    """Publish several groups of files and sync each directory once for all of them. A context manager.

    First every group is passed to `place`, by any threads, then `sync` is called, and then `settle` for each group. After an
    error a temporary may remain; new names of the group are removed again, and a file that had already been replaced
    keeps its new, whole content.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._directories = _Directories(self._opened)
        self._failed: dict[_DirectoryPlace, StorageError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def place(self, files: Sequence[PendingFile]) -> Placed:
        """Write files and give them their names, all or none. Missing directories are created.

        Raises OutputTakenError if a name is taken by a foreign file (the caller plans another one), StorageError if the
        disk fails; the error's `path` is the file.
        """
        with ExitStack() as held, ExitStack() as undo:
            written = [_write(f, self._directories, held) for f in files]
            # After all are written: the first sync then takes to the disk what the file system has to record about all of them.
            for w in written:
                _sync(w)
            for w in written:
                _give_name(w, undo)
            # Before the directories are synced, so that no temporary reappears after a power cut.
            held.close()
            clean = not any(w.left for w in written)
            return Placed(tuple({w.place: None for w in written}), undo.pop_all(), clean)

    def place_each(
        self, groups: Iterable[Sequence[PendingFile]], answered: Callable[[], None]
    ) -> list[Future[Placed]]:
        """What `place` returns or raises for each group. `answered` is called after each."""
        ended = []
        for files in groups:
            one: Future[Placed] = Future()
            try:
                one.set_result(self.place(files))
            except Exception as e:
                one.set_exception(e)
            ended.append(one)
            answered()
        return ended

    def sync(self, placed: Sequence[Placed]) -> None:
        """Sync the directories of all these groups; `settle` raises what fails."""
        for key in dict.fromkeys(key for one in placed for key in one.directories):
            try:
                self._directories.sync(key)
            except StorageError as e:
                self._failed[key] = e

    def settle(self, placed: Placed) -> bool:
        """On return the files of a group are on disk under their names; returns `Placed.clean`. Raises StorageError."""
        for key in placed.directories:
            if key in self._failed:
                placed.undo.close()
                raise self._failed[key]
        return placed.clean


def publish(files: Sequence[PendingFile]) -> bool:
    """Publish `files` together; on return they are on disk under their names. Returns and raises as `Publication` does."""
    with Publication() as publication:
        placed = publication.place(files)
        publication.sync([placed])
        return publication.settle(placed)


def _nothing_intended(_: Path) -> Collection[str]:
    return ()


def sweep(
    directory: Path,
    root: Path | None = None,
    intended: Callable[[Path], Collection[str]] = _nothing_intended,
) -> int:
    """Remove temporaries that a killed process left in `directory`; return how many. Those in use stay.

    On file systems without links an empty file may be left, too, which kept the name of a file that was about to be put there
    (see `rename`). It is removed if the temporary is the file that was to replace it: if its SHA-256 is one of those
    `intended` for that path, which were recorded and not published. `root` as in `PendingFile`.

    Raises StorageError when the directory cannot be read or a temporary cannot be removed.
    """
    with _sweeping(directory):
        return _sweep(directory, root, intended)


@contextlib.contextmanager
def _sweeping(directory: Path) -> Iterator[None]:
    """Let one thread at a time sweep a directory: a temporary that another one has locked would count as in use."""
    with _guard:
        lock = _sweeps.setdefault(directory, threading.Lock())
    with lock:
        yield


def _sweep(directory: Path, root: Path | None, intended: Callable[[Path], Collection[str]]) -> int:
    removed = 0
    with _reported("clean up", directory):
        descriptor = open_directory(root or directory, directory)
    try:
        with _reported("clean up", directory), os.scandir(descriptor) as entries:
            names = {e.name for e in entries}
        for name in filter(_TEMPORARY.fullmatch, names):
            target = _target_of(name, directory, names)
            with _reported("clean up", directory / name):
                if target is None:
                    removed += _remove_stale(descriptor, name)
                else:
                    removed += _remove_stale(
                        descriptor,
                        name,
                        partial(_release_name, descriptor, target=directory / target, intended=intended),
                    )
    finally:
        close(descriptor)
    return removed


def _target_of(temporary: str, directory: Path, names: Collection[str]) -> str | None:
    """The file among `names` that has this temporary."""
    base = temporary[1 : -len(_ENDING)]
    if base in names:
        return base
    if _SHORTENED.fullmatch(base) is None:
        return None
    return next((n for n in names if temporary_path(directory / n).name == temporary), None)


def withdraw(path: Path, ours: Mapping[str, int | None], root: Path | None = None) -> bool:
    """Remove the file at `path` and sync, if it is among `ours` (see `standing`). A foreign file stays.

    Returns False if its directory is missing (a share not mounted?), so that the state of the file is unknown.
    `root` as in `PendingFile`. Raises StorageError if the disk fails.
    """
    with _reported("remove", path):
        try:
            directory = open_directory(root or path.parent, path.parent)
        except OSError as e:
            if e.errno in GONE:
                return False
            raise
        try:
            if standing(directory, path.name, ours) in ours:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path.name, dir_fd=directory)
                sync_directory(directory)
        finally:
            close(directory)
    return True


def temporary_path(path: Path) -> Path:
    """Temporary path of a file: hidden, in the same directory, shortened if the name would be too long."""
    return path.with_name(_temporary_of(path.name))


def _temporary_of(final: str) -> str:
    """Name of the temporary of a file of this name."""
    name = f".{final}.dropscribe.tmp"
    if len(os.fsencode(name)) > NAME_BYTES:
        name = f".{hashlib.sha256(os.fsencode(final)).hexdigest()[:32]}.dropscribe.tmp"
    return name


def _write(pending: PendingFile, directories: _Directories, held: ExitStack) -> _Written:
    """Write a temporary. `held` closes and removes it in every case."""
    above, name = os.path.split(pending.path)
    place = (os.fspath(pending.root or above), above)
    with _reported("write", pending.path):
        try:
            directory = directories.of(place)
            temporary, descriptor = _open_new(directory, _temporary_of(name), pending.readers)
        except OSError as e:
            # So FAT and NTFS reject characters in names.
            if e.errno == errno.EINVAL:
                raise not_allowed(pending.path, e) from e
            raise
        # An error of close(2) may be ignored: fsync has already succeeded by then.
        held.callback(close, descriptor)
        left: list[OSError] = []
        held.callback(_remove, directory, temporary, left)
        # Keeps `sweep` of another process from removing it. Some network shares support no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rest = memoryview(pending.data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        identity = _identity(os.fstat(descriptor))
        return _Written(pending, directory, temporary, descriptor, identity, name, place, left)


def _sync(written: _Written) -> None:
    with _reported("write", written.pending.path):
        os.fsync(written.descriptor)


def _open_new(directory: int, name: str, readers: Readers | None) -> tuple[str, int]:
    """Create a temporary; return its name (a random one if `name` is taken and in use) and its descriptor."""
    try:
        return name, create_readable(directory, name, _OPEN_NEW, readers)
    except FileExistsError:
        with contextlib.suppress(OSError):
            if _remove_stale(directory, name):
                return name, create_readable(directory, name, _OPEN_NEW, readers)
    other = f".{secrets.token_hex(8)}.dropscribe.tmp"
    return other, create_readable(directory, other, _OPEN_NEW, readers)


def _give_name(written: _Written, undo: ExitStack) -> None:
    """Move a temporary to its final name; register with `undo` how to take a new name back."""
    pending, directory, name = written.pending, written.directory, written.name
    path, replaces = pending.path, pending.replaces
    with _reported("publish", path):
        there = standing(directory, name, {replaces: pending.replaces_size}) if replaces is not None else None
        if there is not None:
            if there != replaces:
                raise _taken(path)
            replace(directory, written.temporary, name)
            return
        try:
            place_new(directory, written.temporary, name)
        except FileExistsError as e:
            # A network share may have executed a call whose reply was lost; then the file there is this one.
            if _identity(_lstat(directory, name)) != written.identity:
                raise _taken(path) from e
        undo.callback(_take_back, directory, name, written.identity)


def _taken(path: Path) -> OutputTakenError:
    return OutputTakenError(
        "another file has that name",
        operation="publish",
        path=path,
        remedy="the transcript gets another name; nothing needs to be done",
    )


def _take_back(directory: int, name: str, identity: tuple[int, int]) -> None:
    """Remove a name given before, unless another file has been put there since.

    A failure is ignored: the error being handled matters more, and the file is whole and recorded as ours.
    """
    with contextlib.suppress(OSError):
        if _identity(_lstat(directory, name)) == identity:
            os.unlink(name, dir_fd=directory)


def _release_name(
    directory: int, temporary: int, target: Path, intended: Callable[[Path], Collection[str]]
) -> None:
    """Remove the empty file at `target` if the open `temporary` was about to replace it. Raises OSError."""

    def is_empty() -> bool:
        status = _lstat(directory, target.name)
        return stat.S_ISREG(status.st_mode) and status.st_size == 0

    with contextlib.suppress(FileNotFoundError):
        # An empty transcript is whole, and known by its hash. Without a name, another process has removed the temporary
        # before this one locked it, and the file at `target` belongs to a later one.
        status = os.fstat(temporary)
        if not is_empty() or status.st_size == 0 or status.st_nlink == 0:
            return
        name = temporary_path(target).name
        found = digest(directory, name, lambda size: size <= MOST_UNRECORDED_BYTES)
        if found and found in intended(target) and is_empty():
            os.unlink(target.name, dir_fd=directory)


def _remove_stale(directory: int, name: str, before: Callable[[int], None] = lambda _: None) -> bool:
    """Remove a temporary unless a process has it locked; return whether it was removed. Raises OSError.

    `before` is called right before with its descriptor, while it is locked.
    """
    try:
        # Checked before opening: opening a pipe or a device can block or have side effects.
        if not stat.S_ISREG(_lstat(directory, name).st_mode):
            return False
        # Opened for writing, because network shares lock only files that are open for writing.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as e:
        if e.errno in NOT_OURS or isinstance(e, FileNotFoundError):
            return False
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as e:
            if e.errno not in _NO_LOCKS:
                raise
        before(descriptor)
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    finally:
        close(descriptor)
    return True


def _remove(directory: int, temporary: str, left: list[OSError]) -> None:
    # An error being handled must not be replaced by this one; `sweep` removes the file later.
    try:
        os.unlink(temporary, dir_fd=directory)
    except FileNotFoundError:
        return
    except OSError as e:
        left.append(e)


def _lstat(directory: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)


def not_allowed(path: Path, error: OSError) -> OutputNameError:
    """Error for a path that the file system does not allow; trying again cannot help."""
    reason = "is too long" if error.errno == errno.ENAMETOOLONG else "is not allowed by the file system"
    return OutputNameError(
        f"{path}: that name {reason}", operation="publish", path=path,
        remedy=f"rename the recording or its folders, {_ELSEWHERE}",
    )  # fmt: skip


@contextlib.contextmanager
def _reported(operation: str, path: Path) -> Iterator[None]:
    """Convert OSError to StorageError, or to OutputNameError if no retry can help, with a remedy."""
    try:
        yield
    except OSError as e:
        if e.errno in _NOT_ALLOWED:
            raise not_allowed(path, e) from e
        raise StorageError.from_system(e, operation=operation, path=path, remedy=_remedy(e.errno)) from e


def _remedy(code: int | None) -> str:
    match code:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space on that disk (or raise the quota)"
        case errno.EFBIG:
            return "raise the limit on the size of files (LimitFSIZE=, ulimit -f)"
        case errno.EROFS:
            return f"the file system is read-only: mount it writable, {_ELSEWHERE}"
        case errno.EACCES | errno.EPERM:
            return f"let the daemon's user write there, {_ELSEWHERE}"
        case errno.ENOENT:
            return "the folder is not there any more: bring it back, or mount it again"
        case errno.ELOOP | errno.EXDEV:
            return f"a symbolic link is in place of a folder, and is not followed: move it away, {_ELSEWHERE}"
        case errno.EEXIST | errno.ENOTDIR:
            return f"a file is in place of a folder: move it away, {_ELSEWHERE}"
        case errno.EIO:
            return "the disk reports errors: see the kernel's log"
        case _:
            return "see that the disk is mounted and can be written to"
