"""Monitor the root directory of a watched folder: report when it disappears, returns or is replaced."""

# ruff: noqa: PTH116 - strings, as everywhere in this room

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from enum import Enum

from dropscribe.config import Folder
from dropscribe.intake import filesystem
from dropscribe.intake.backends import Backend, InotifyBackend, PollBackend, WatchesExhaustedError
from dropscribe.intake.filesystem import InotifyLimits
from dropscribe.intake.folder_lock import FolderLock, FolderLocks, Taken
from dropscribe.intake.root import Root, Trouble, inspect_root, judge, taken_by_another
from dropscribe.intake.types import FolderHealth, FolderState


class Standing(Enum):
    """State of the root directory compared with the last check."""

    SAME = "same"
    RENEWED = "renewed"  #: another directory, or the first one: the state of its files is unknown
    TROUBLE = "trouble"  #: unusable: nothing can be decided about its files


class RootMonitor:
    """Check the root directory, lock it, and choose its backend. Owned by the folder's thread.

    `hint` is called with the paths that the backend (inotify or polling) reports as changed, also from the backend's own
    thread, which also calls `ignored`: whether a file of this name means nothing.
    """

    def __init__(
        self,
        folder: Folder,
        hint: Callable[[str], None],
        say: Callable[[FolderHealth], None],
        wall: Callable[[], float],
        locks: FolderLocks,
        *,
        ignored: Callable[[str], bool],
    ) -> None:
        self._folder = folder
        self._path = str(folder.path)
        self._hint = hint
        self._ignored = ignored
        self._say = say
        self._wall = wall
        self._folder_locks = locks
        self._folder_lock: FolderLock | None = None
        self._backend: Backend = PollBackend()
        self._root: Root | None = None
        self._trouble: Trouble | None = None
        self._changed = False
        #: The exceeded inotify limit, and all limits at that time; None while inotify is available.
        self._exceeded: tuple[str, InotifyLimits] | None = None
        self._mounts: frozenset[str] = frozenset()
        self._directories: set[str] = set()
        #: False on a network file system, where writers on other machines cannot be detected.
        self.sees_writers = True
        #: Last reported health.
        self.health: FolderHealth | None = None

    @property
    def polled(self) -> bool:
        return isinstance(self._backend, PollBackend)

    @property
    def empty(self) -> bool:
        """True if the folder was empty at the last check."""
        return self._root is not None and self._root.empty

    @property
    def troubled(self) -> bool:
        return self._trouble is not None

    def check(self, *, inhabited: bool) -> Standing:
        """Check the root directory; `inhabited`: the caller has seen files in it."""
        seen = inspect_root(self._path)
        trouble = judge(self._root, seen, inhabited=inhabited)
        if trouble is not None or isinstance(seen, Trouble):
            self._suspend(trouble)
            return Standing.TROUBLE
        trouble = self._lock(seen)
        if trouble is not None:
            self._suspend(trouble)
            return Standing.TROUBLE
        # A recreated directory often gets the inode of the old one; then only the lost watch or the trouble in between
        # shows the replacement.
        same = seen.same_as(self._root) and not self.troubled and not self._backend.lost(self._path)
        limits_changed = self._exceeded is not None and self._exceeded[1] != filesystem.inotify_limits()
        outdated = not same or self._changed or limits_changed
        self._root, self._trouble, self._changed = seen, None, False
        if not same:
            # Mounts below the same directory are kept, also under other settings: `mounts` reports what was unmounted.
            self._mounts = filesystem.mounts_below(os.path.realpath(self._path))
        if outdated:
            self._choose_backend()
        return Standing.SAME if same else Standing.RENEWED

    def holds(self) -> bool:
        """True if the root directory is still the one last checked. Cheap."""
        try:
            status = os.stat(self._path)
        except OSError:
            return False
        root = self._root
        if root is None or self._backend.lost(self._path):
            return False
        return (status.st_dev, status.st_ino) == (root.device, root.inode)

    def mounts(self) -> tuple[list[str], list[str]]:
        """Directories in the folder that were unmounted, and those that were mounted, since the last call."""
        real = os.path.realpath(self._path)
        before, self._mounts = self._mounts, filesystem.mounts_below(real)

        def inside(mounts: frozenset[str]) -> list[str]:
            return [self._path.rstrip("/") + mount.removeprefix(real.rstrip("/")) for mount in mounts]

        return inside(before - self._mounts), inside(self._mounts - before)

    def elsewhere(self, directory: str, descriptor: int) -> Taken | None:
        """Holder of this (open) directory if another daemon watches it; it is then left to that daemon.

        Checked only for a new directory: while this daemon has the folder locked, no other can lock a part of it.
        """
        if directory == self._path or directory in self._directories:
            return None
        return self._folder_locks.taken(directory, descriptor)

    def enter(self, directory: str, descriptor: int) -> None:
        """Watch this (open) directory; poll the folder from now on if the kernel's watches are exhausted."""
        self._directories.add(directory)
        try:
            self._backend.enter(directory, descriptor)
        except WatchesExhaustedError as e:
            self._fall_back_to_polling(e)
            self._report()

    def watches(self, directory: str) -> bool:
        """True if this path was a directory when it was last seen."""
        return directory in self._directories

    def keep(self, directories: Collection[str]) -> None:
        """Watch only these directories."""
        self._directories = set(directories)
        self._backend.keep(directories)

    def change(self, folder: Folder) -> None:
        """Use other settings; the next check chooses the backend again."""
        self._folder = folder
        self._changed = True

    def alive(self) -> bool:
        return self._backend.alive()

    def close(self) -> None:
        self._backend.close()
        self._unlock()

    def _lock(self, seen: Root) -> Trouble | None:
        """Lock the current root directory unless it is locked already, or shared with other hosts."""
        if self._folder.storage:
            self._unlock()
            return None
        if self._folder_lock is not None and self._folder_lock.identity == (seen.device, seen.inode):
            return None
        self._unlock()
        try:
            lock = self._folder_locks.take(self._path)
        except OSError as e:
            return Trouble(f"the folder cannot be read: {e.strerror}", "check the disk or the network share")
        if isinstance(lock, Taken):
            return taken_by_another(self._path, lock)
        self._folder_lock = lock
        return None

    def _unlock(self) -> None:
        if self._folder_lock is not None:
            self._folder_lock.close()
            self._folder_lock = None

    def _suspend(self, trouble: Trouble | None) -> None:
        # Watches on directories that no longer belong to the folder are useless, and a lock would keep a file system
        # in use that was unmounted lazily.
        self._backend.close()
        self._backend = PollBackend()
        self._directories.clear()
        self._unlock()
        if trouble != self._trouble:
            self._trouble = trouble
            self._report()

    def _choose_backend(self) -> None:
        self._backend.close()
        self._backend, self._exceeded = PollBackend(), None
        where = filesystem.filesystem_of(self._folder.path)
        self.sees_writers = not where.network
        wanted = self._folder.backend
        if wanted == "inotify" or (wanted == "auto" and not where.network):
            try:
                self._backend = InotifyBackend(self._path, self._hint, self._ignored)
            except WatchesExhaustedError as e:
                self._fall_back_to_polling(e)
        self._report()

    def _fall_back_to_polling(self, error: WatchesExhaustedError) -> None:
        # All watches are released: the limit is shared with the other programs of this user.
        self._backend.close()
        self._backend = PollBackend()
        self._exceeded = (error.sysctl, filesystem.inotify_limits())

    def _report(self) -> None:
        problem, remedy, state = None, "", FolderState.WATCHED
        if self._trouble is not None:
            problem, remedy = self._trouble.problem, self._trouble.remedy
            state = FolderState.TAKEN if self._trouble.taken else FolderState.AWAY
        elif self._exceeded is not None:
            sysctl = self._exceeded[0]
            problem = f"the kernel's limit {sysctl} is reached, so the folder is polled"
            remedy = f"raise {sysctl} (sysctl), or exclude folders; it is tried again when the limit changes, and on reload"
        self.health = FolderHealth(
            self._folder.path, self._backend.name, problem, remedy, self._wall(), state
        )
        self._say(self.health)
