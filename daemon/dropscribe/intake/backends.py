"""What tells us that something happened in a folder. Hints only: the rescan is what guarantees.

A new backend is one class with the methods of `Backend`.

inotify is used through `InotifyFD`, the layer under watchdog's `Observer`, because the observer cannot be used as
this daemon needs it: below the root it swallows ENOSPC, so that running out of watches goes unnoticed; it watches
directories that are excluded; its emitter thread dies with the root while `is_alive()` stays true; and it holds
events of moves back by half a second. Here the scan says which directories to watch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from typing import Protocol

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

#: Creation, arrival by a move, the end of writing, removal. Not every single write: a file that is being written
#: is looked at when its quiet period ends, and reading (ours) is nobody's concern.
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


class WatchesExhaustedError(Exception):
    """The kernel grants no more watches or instances; the folder must be polled. `sysctl` names the limit."""

    def __init__(self, sysctl: str) -> None:
        super().__init__(sysctl)
        self.sysctl = sysctl


class Backend(Protocol):
    """Watches the directories of one folder. Owned by one thread; hints may come from another."""

    @property
    def name(self) -> str:
        """As `FolderHealth.backend` says it."""

    def enter(self, directory: str, descriptor: int) -> None:
        """Hint what happens in this directory, of which `descriptor` is open, from now on. Raises WatchesExhaustedError."""

    def keep(self, directories: Collection[str]) -> None:
        """Forget all directories but these."""

    def lost(self, directory: str) -> bool:
        """Whether a directory that was entered is known to have been removed or unmounted since."""

    def alive(self) -> bool:
        """False once hints can no longer come though they should."""

    def close(self) -> None:
        """Stop; may be called twice."""


class PollBackend:
    """Hints nothing; whoever uses it scans often."""

    name = "poll"

    def enter(self, directory: str, descriptor: int) -> None:
        """Nothing to prepare."""

    def keep(self, directories: Collection[str]) -> None:
        """Nothing to forget."""

    def lost(self, directory: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Never known."""
        return False

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing to stop."""


class _DirectoryWatch(WatchCallback):
    """One watched directory. Called from watchdog's reading thread, so it only passes on a path."""

    def __init__(self, path: str, identity: tuple[int, int], root: str, hint: Callable[[str], None]) -> None:
        self.path = path
        self.identity = identity
        self.descriptor: WatchDescriptor | None = None
        #: Set once, by the reading thread.
        self.ended = False
        self._root = root
        self._hint = hint

    def on_event(self, event: InotifyEvent) -> None:
        self._hint(f"{self.path.rstrip('/')}/{os.fsdecode(event.name)}" if event.name else self.path)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - watchdog's signature
        """The directory was removed or unmounted; another may stand in its place by now."""
        self.ended = True
        self._hint(self.path)

    def on_queue_overflow(self) -> None:
        """Events were lost, nobody knows of which file: a hint at the root has everything scanned."""
        self._hint(self._root)


class InotifyBackend:
    """Events of the local kernel. Raises WatchesExhaustedError when made if there is no instance to be had."""

    name = "inotify"

    def __init__(self, root: str, hint: Callable[[str], None]) -> None:
        self._root = root
        self._hint = hint
        self._watches: dict[str, _DirectoryWatch] = {}
        self._closed = False
        try:
            self._reader = InotifyFD()
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
        # A name for each callback: a directory that was renamed keeps its descriptor, and for a while has the
        # callbacks of both its paths.
        name = CallbackId(id(watch))
        # By its descriptor: at its path a link to another directory may stand by now.
        exactly = f"/proc/self/fd/{descriptor}".encode()
        try:
            watch.descriptor = self._reader.add_callback(exactly, _EVENTS, watch, name)
        except OSError as e:
            if e.errno == errno.ENOSPC:
                raise WatchesExhaustedError("fs.inotify.max_user_watches") from e
            # Gone or not a directory any more: the scan, which comes next, finds the same.
            return
        if watch.descriptor < 0:
            # What watchdog makes of EACCES. The scan says that the directory cannot be read.
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
