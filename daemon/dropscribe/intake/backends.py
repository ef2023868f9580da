"""Backends that report changes in a folder. Their events are hints: completeness is guaranteed by the rescan.

To add a backend, write one class with the methods of `Backend`.

inotify is used through `InotifyFD`, the layer under watchdog's `Observer`. The observer does not fit: below the root
it swallows ENOSPC, so that running out of watches goes unnoticed; it watches excluded directories; its emitter thread
dies with the root while `is_alive()` stays true; and it delays move events by 0.5 s. Here the scan decides which
directories are watched.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Collection
from typing import Protocol

from watchdog.observers.inotify_c import (
    DEFAULT_EVENT_BUFFER_SIZE,
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from dropscribe.transcript.naming import TEMPORARY_BEGIN, TEMPORARY_END

#: Creation, moves, closing after writing, removal. Not single writes: a file that is being written is checked when its
#: quiet period ends. Not reads: they would include the daemon's own.
_EVENTS = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)
#: Names of files that dropscribe is writing.
_OURS_BEGIN, _OURS_END = TEMPORARY_BEGIN.encode(), TEMPORARY_END.encode()


#: An event of inotify(7) without its name: watch, mask, cookie, length of the name.
_EVENT = struct.Struct("iIII")
#: Wait after events of which none means anything, seconds.
GATHER_S = 0.05
#: Events that are told whatever the name: of directories, and of watches that end.
_TOLD = InotifyConstants.IN_ISDIR | InotifyConstants.IN_IGNORED


class WatchesExhaustedError(Exception):
    """The kernel's limit of watches or instances is reached; the folder must be polled. `sysctl`: the limit's name."""

    def __init__(self, sysctl: str) -> None:
        super().__init__(sysctl)
        self.sysctl = sysctl


class Backend(Protocol):
    """Watch the directories of one folder. Owned by one thread; hints may be sent from another."""

    @property
    def name(self) -> str:
        """Value of `FolderHealth.backend`."""

    def enter(self, directory: str, descriptor: int) -> None:
        """Watch this directory, open as `descriptor`, from now on. Raises WatchesExhaustedError."""

    def keep(self, directories: Collection[str]) -> None:
        """Stop watching all directories but these."""

    def lost(self, directory: str) -> bool:
        """True if a directory that was entered is known to have been removed or unmounted."""

    def alive(self) -> bool:
        """False once the thread that reads events has died."""

    def close(self) -> None:
        """Stop. Idempotent."""


def _is_ours(name: bytes) -> bool:
    return name.startswith(_OURS_BEGIN) and name.endswith(_OURS_END)


class PollBackend:
    """Backend without hints; the caller must scan often."""

    name = "poll"

    def enter(self, directory: str, descriptor: int) -> None:
        """Do nothing."""

    def keep(self, directories: Collection[str]) -> None:
        """Do nothing."""

    def lost(self, directory: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Always False: unknown."""
        return False

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """Do nothing."""


class _DirectoryWatch(WatchCallback):
    """Callbacks of one watched directory. They run in watchdog's reader thread, so they only pass on a path."""

    def __init__(self, path: str, identity: tuple[int, int], root: str, hint: Callable[[str], None]) -> None:
        self.path = path
        self.identity = identity
        self.descriptor: WatchDescriptor | None = None
        #: Set once, by the reader thread.
        self.ended = False
        self._root = root
        self._hint = hint

    def on_event(self, event: InotifyEvent) -> None:
        self._hint(f"{self.path.rstrip('/')}/{os.fsdecode(event.name)}" if event.name else self.path)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - watchdog's signature
        """The directory was removed or unmounted, and may have been replaced."""
        self.ended = True
        self._hint(self.path)

    def on_queue_overflow(self) -> None:
        """Events of unknown files were lost: a hint at the root causes a scan of the whole folder."""
        self._hint(self._root)


class _Reader(InotifyFD):
    """Drops events that mean nothing before objects are made of them: most are of transcripts that are being published."""

    def __init__(self, ignored: Callable[[str], bool]) -> None:
        super().__init__()
        self._ignored = ignored

    def read_events(self, *, event_buffer_size: int = DEFAULT_EVENT_BUFFER_SIZE) -> list[InotifyEvent]:
        """See `InotifyFD`."""
        buffer = self._read_event_buffer(event_buffer_size)
        told = []
        at = 0
        while at < len(buffer):
            wd, mask, cookie, length = _EVENT.unpack_from(buffer, at)
            begin = at + _EVENT.size
            at = begin + length
            name = buffer[begin:at].rstrip(b"\0")
            if name and not mask & _TOLD and (_is_ours(name) or self._ignored(os.fsdecode(name))):
                continue
            # The kernel reports an overflow with the descriptor -1; watchdog ignores other events of the whole queue.
            if wd != -1 or mask & InotifyConstants.IN_Q_OVERFLOW:
                told.append(InotifyEvent(wd, mask, cookie, name))
        if not told:
            # Transcripts are being published: more such events follow, which the kernel collects meanwhile.
            time.sleep(GATHER_S)
        return told


class InotifyBackend:
    """Events of the local kernel. The constructor raises WatchesExhaustedError if no instance is available."""

    name = "inotify"

    def __init__(self, root: str, hint: Callable[[str], None], ignored: Callable[[str], bool]) -> None:
        """`ignored`: whether a file of this name means nothing; called by the backend's thread."""
        self._root = root
        self._hint = hint
        self._watches: dict[str, _DirectoryWatch] = {}
        self._closed = False
        try:
            self._reader = _Reader(ignored)
        except OSError as e:
            if e.errno in {errno.EMFILE, errno.ENFILE}:
                raise WatchesExhaustedError("fs.inotify.max_user_instances") from e
            raise
        self._reader.start()

    def enter(self, directory: str, descriptor: int) -> None:
        status = os.fstat(descriptor)
        identity = status.st_dev, status.st_ino
        before = self._watches.get(directory)
        if before is not None and before.identity == identity and not before.ended:
            return
        watch = _DirectoryWatch(directory, identity, self._root, self._hint)
        # A separate id for each callback: a renamed directory keeps its watch descriptor and has, for a while, the
        # callbacks of both its paths.
        name = CallbackId(id(watch))
        # By descriptor: its path may have been replaced by a link to another directory.
        exactly = f"/proc/self/fd/{descriptor}".encode()
        try:
            watch.descriptor = self._reader.add_callback(exactly, _EVENTS, watch, name)
        except OSError as e:
            if e.errno == errno.ENOSPC:
                raise WatchesExhaustedError("fs.inotify.max_user_watches") from e
            # Gone or no longer a directory: the scan, which follows, will find that.
            return
        if watch.descriptor < 0:
            # Watchdog's result for EACCES. The scan reports that the directory cannot be read.
            self._reader.remove_callbacks([(watch.descriptor, name)])
            return
        if before is not None:
            self._remove(before)
        self._watches[directory] = watch

    def keep(self, directories: Collection[str]) -> None:
        for path in [path for path in self._watches if path not in directories]:
            self._remove(self._watches.pop(path))

    def _remove(self, watch: _DirectoryWatch) -> None:
        if watch.descriptor is not None and not watch.ended:
            self._reader.remove_callbacks([(watch.descriptor, CallbackId(id(watch)))])

    def lost(self, directory: str) -> bool:
        watch = self._watches.get(directory)
        return watch is not None and watch.ended

    def alive(self) -> bool:
        return self._closed or self._reader.is_alive()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._reader.stop()
            self._reader.join()
