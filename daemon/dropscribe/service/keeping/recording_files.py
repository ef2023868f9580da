"""Move and delete recordings, so that a kill at any moment loses none and moves none twice.

The caller records the intent before, and the end after. A recording is touched only if it is the file on record: a regular file,
not a link, of the recorded size, time and inode. People may put another file at its path at any moment. So it gets a hidden
name in its own folder first, by a rename that replaces nothing; only what turns out to be the recording under that name is
deleted or moved on, anything else gets its name back.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dropscribe.errors import StorageError
from dropscribe.files import GONE, FileSignature, close, open_directory, sync_directory
from dropscribe.transcript.placing.rename import rename_new

#: Bytes copied at a time.
PIECE_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Ended(Enum):
    """How a move or deletion has ended."""

    DONE = "done"
    STAYED = "stayed"  #: it is where it was, with its name, or is not there any more
    TAKEN = "taken"  #: it is where it was: there is a file at the target


@dataclass(frozen=True, slots=True)
class LeavingRecording:
    """A recording about to leave its folder. `number` makes its hidden name: that on record."""

    path: Path
    folder: Path
    signature: FileSignature
    sha256: str
    number: int

    @property
    def hidden(self) -> str:
        """Its name while it leaves; intake ignores such names."""
        return f".{self.number}.dropscribe.leaving"


def is_in_place(recording: LeavingRecording) -> bool:
    """True if the recording on record is at its path. Raises StorageError."""
    with _reported("look for", recording.path), _folder_of(recording) as source:
        return source is not None and _is_recording(source, recording.path.name, recording.signature)


def give_back(recording: LeavingRecording) -> bool:
    """Give a recording that was about to leave its name again; False if it has left already. Raises StorageError."""
    with _reported("give back", recording.path), _folder_of(recording) as source:
        if source is None:
            return False
        if _is_there(source, recording.hidden):
            _unhide(source, recording)
            return True
        return _is_recording(source, recording.path.name, recording.signature)


def delete(recording: LeavingRecording, between: Callable[[], None]) -> Ended:
    """Delete a recording if its content is the one on record. `between` is called now and then. Raises StorageError.

    Goes on where a killed process has stopped.
    """
    with _reported("delete", recording.path), _folder_of(recording) as source:
        if source is None:
            return Ended.STAYED
        if not _hide(source, recording):
            return Ended.STAYED if _is_there(source, recording.path.name) else Ended.DONE
        if _digest(source, recording.hidden, between) != recording.sha256:
            _unhide(source, recording)
            return Ended.STAYED
        os.unlink(recording.hidden, dir_fd=source)
        sync_directory(source)
        return Ended.DONE


def move(recording: LeavingRecording, target: Path, root: Path, between: Callable[[], None]) -> Ended:
    """Move a recording to `target` below `root`, whose folders are made, across file systems, too. Raises StorageError.

    Goes on where a killed process has stopped. TAKEN: another file is there, and the recording is where it was.
    """
    with (
        _reported("move", recording.path),
        _folder_of(recording) as source,
        _opened(root, target.parent) as there,
    ):
        if source is None or not _hide(source, recording):
            at_target = _digest(there, target.name, between) == recording.sha256
            return Ended.DONE if at_target else Ended.STAYED
        ended = _move_on(source, recording, there, target.name, between)
        if ended is Ended.DONE:
            sync_directory(there)
        else:
            _unhide(source, recording)
        sync_directory(source)
        return ended


def _move_on(
    source: int, recording: LeavingRecording, there: int, name: str, between: Callable[[], None]
) -> Ended:
    """Move the hidden recording; unless that is done it keeps the hidden name. Raises OSError: the intent on record stays."""
    if _is_there(there, name):
        # Perhaps the copy of a process that was killed before it deleted the original.
        same = _same_file(source, recording.hidden, there, name)
        if same or _digest(there, name, between) != recording.sha256:
            return Ended.TAKEN
        sync_directory(there)
        os.unlink(recording.hidden, dir_fd=source)
        return Ended.DONE
    try:
        rename_new(source, recording.hidden, name, there)
    except FileExistsError:
        return Ended.TAKEN
    except OSError as e:
        if e.errno == errno.EXDEV:
            return _move_copy(source, recording, there, name, between)
        _unhide(source, recording)
        raise
    return Ended.DONE


def _move_copy(
    source: int, recording: LeavingRecording, there: int, name: str, between: Callable[[], None]
) -> Ended:
    """Copy the hidden recording to another file system, whole or not at all, and then delete it. Raises OSError."""
    temporary = f"{recording.hidden}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=there)
    try:
        if _copy(source, recording.hidden, there, temporary, between) != recording.sha256:
            return Ended.STAYED
        try:
            rename_new(there, temporary, name, there)
        except FileExistsError:
            return Ended.TAKEN
    except BaseException:
        _unhide(source, recording)
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=there)
    # The copy must be on its disk under its name before the original goes.
    sync_directory(there)
    os.unlink(recording.hidden, dir_fd=source)
    return Ended.DONE


def _copy(source: int, name: str, there: int, temporary: str, between: Callable[[], None]) -> str:
    """Copy content, permissions, owner and times; returns the SHA-256 of what was written, hex. Raises OSError."""
    digest = hashlib.sha256()
    reading = os.open(name, _READ, dir_fd=source)
    try:
        status = os.fstat(reading)
        writing = os.open(temporary, _NEW, 0o600, dir_fd=there)
        try:
            while piece := os.read(reading, PIECE_BYTES):
                digest.update(piece)
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(writing, rest) :]
                between()
            # Of another file system: it may not have owners or permissions.
            with contextlib.suppress(OSError):
                os.fchown(writing, status.st_uid, status.st_gid)
            with contextlib.suppress(OSError):
                os.fchmod(writing, stat.S_IMODE(status.st_mode))
            with contextlib.suppress(OSError):
                os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return digest.hexdigest()


def _hide(source: int, recording: LeavingRecording) -> bool:
    """Give the recording its hidden name; False if it is not at its path. Raises OSError."""
    if not _is_there(source, recording.hidden):
        if not _is_recording(source, recording.path.name, recording.signature):
            return False
        try:
            rename_new(source, recording.path.name, recording.hidden, source)
        except FileNotFoundError:
            return False
    if not _is_recording(source, recording.hidden, recording.signature):
        # Another file was put there in between, or the one on record has changed since.
        _unhide(source, recording)
        return False
    return True


def _unhide(source: int, recording: LeavingRecording) -> None:
    """Give the file with the hidden name that of the recording again, or a similar one if that is taken. Raises OSError."""
    name = recording.path.name
    for number in range(1, 1000):
        again = name if number == 1 else f"{recording.path.stem} ({number}){recording.path.suffix}"
        try:
            rename_new(source, recording.hidden, again, source)
        except FileExistsError:
            continue
        sync_directory(source)
        return


def _is_recording(directory: int, name: str, signature: FileSignature) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and FileSignature.of(status) == signature


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _same_file(directory: int, name: str, other: int, other_name: str) -> bool:
    """True for two names of one file, as a hard link that somebody made."""
    one = os.stat(name, dir_fd=directory, follow_symlinks=False)
    two = os.stat(other_name, dir_fd=other, follow_symlinks=False)
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _digest(directory: int, name: str, between: Callable[[], None]) -> str | None:
    """SHA-256 of a regular file, hex; None if there is none. Raises OSError."""
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return None
        descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    digest = hashlib.sha256()
    try:
        while piece := os.read(descriptor, PIECE_BYTES):
            digest.update(piece)
            between()
    finally:
        close(descriptor)
    return digest.hexdigest()


@contextlib.contextmanager
def _folder_of(recording: LeavingRecording) -> Iterator[int | None]:
    """Descriptor of the directory of a recording; None if it is not there, as after its removal. Raises OSError."""
    try:
        descriptor = open_directory(recording.folder, recording.path.parent)
    except OSError as e:
        if e.errno not in GONE or not recording.folder.is_dir():
            raise
        yield None
        return
    try:
        yield descriptor
    finally:
        close(descriptor)


@contextlib.contextmanager
def _opened(root: Path, directory: Path) -> Iterator[int]:
    descriptor = open_directory(root, directory, make=True)
    try:
        yield descriptor
    finally:
        close(descriptor)


@contextlib.contextmanager
def _reported(operation: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        where = f"{e.filename}: " if isinstance(e.filename, str) else ""
        raise StorageError(
            f"{where}{e.strerror or e}", operation=operation, path=path,
            remedy="let the daemon's user write in both folders, or set after_done = \"keep\" in the profile",
        ) from e  # fmt: skip
