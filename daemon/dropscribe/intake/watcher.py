"""Watch folders, one thread each, and pass complete files to the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dropscribe.config import Folder
from dropscribe.intake.folder import Surroundings
from dropscribe.intake.folder_lock import FolderLocks
from dropscribe.intake.runner import FolderRunner, Forget, Reconfigure, Stop, Unreadable
from dropscribe.intake.types import Completeness, FolderHealth, Known, Notice, UnsettledFile

#: Longest wait of `stop` for the threads, seconds.
STOP_S = 5.0
#: Longest wait of `reload` for the threads of folders that are no longer watched, seconds.
LEAVE_S = 1.0


class Watcher:
    """Pass every complete file in `folders` to `sink` as an `Arrival`, once per signature.

    Files that exist at the start are treated like later ones. Events are hints and may be lost; completeness is
    guaranteed by a scan of every folder each `rescan_s` seconds (polled folders: `Folder.poll_s`). A file whose
    signature is in `known` is not passed on until it changes. `known` is called at the start and when a folder returns
    after an absence; its result is consumed once, so that files which no longer exist take no memory. After `Gone` a
    file of that name is new.

    `known`, `completeness` and `sink` are called concurrently from the folders' threads and must not block for long; an
    exception ends the thread (see `alive`). `sink` takes over responsibility: after `Arrival` the watcher does not
    pass the file again unless it changes or `forget` or `unreadable` is called. All methods may be called from any thread.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        *,
        known: Callable[[Path], Iterable[Known]],
        completeness: Callable[[Path, Sequence[Path]], Iterable[Completeness]],
        sink: Callable[[Notice], None],
        rescan_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._around = Surroundings(known, completeness, self._say, clock, wall, rescan_s, FolderLocks())
        self._folders = tuple(folders)
        #: By path. Replaced as a whole, under the lock, so that readers need no lock.
        self._runners: dict[Path, FolderRunner] = {}
        self._lock = threading.Lock()
        #: Folders last reported as hanging.
        self._hung: set[Path] = set()
        self._started = self._stopped = False

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended a thread, if any."""
        return next((r.failure for r in self._runners.values() if r.failure is not None), None)

    def start(self) -> None:
        """Start the folders' threads, which scan at once."""
        self._started = True
        self.reload(self._folders)

    def stop(self) -> bool:
        """Stop; no notice is passed on afterwards. Idempotent; may be called without `start`.

        Returns False if a file system that does not respond keeps a thread from ending.
        """
        self._stopped = True
        deadline = time.monotonic() + STOP_S
        for runner in self._runners.values():
            runner.send(Stop())
        for runner in self._runners.values():
            runner.join(max(0.0, deadline - time.monotonic()))
        return not any(runner.running() for runner in self._runners.values())

    def reload(self, folders: Sequence[Folder]) -> None:
        """Watch these folders from now on, choosing the backend of each again. Folders that stay keep their state."""
        with self._lock:
            before = self._runners
            after: dict[Path, FolderRunner] = {}
            for folder in folders:
                runner = before.get(folder.path)
                if runner is None:
                    runner = FolderRunner(folder, self._around)
                    runner.start()
                else:
                    runner.send(Reconfigure(folder))
                after[folder.path] = runner
            self._runners = after
        left = [runner for path, runner in before.items() if path not in after]
        for runner in left:
            runner.send(Stop())
        deadline = time.monotonic() + LEAVE_S
        for runner in left:
            # So that the lock is free if the folder is soon watched again. A thread that hangs ends later.
            runner.join(max(0.0, deadline - time.monotonic()))

    def forget(self, path: Path) -> None:
        """Pass `path` to the sink again if it exists, regardless of its signature."""
        for folder, runner in self._runners.items():
            if path.is_relative_to(folder):
                runner.send(Forget(str(path)))

    def unreadable(self, path: Path, reason: str) -> None:
        """Note that the content of an arrival could not be read: it is reported as skipped once, and passed on again when
        its permissions or its content change, and else with growing delays.
        """
        for folder, runner in self._runners.items():
            if path.is_relative_to(folder):
                runner.send(Unreadable(str(path), reason))

    def health(self) -> list[FolderHealth]:
        """Health of each folder that has been checked at least once."""
        now = self._clock()
        found = [runner.health(now) for runner in self._runners.values()]
        return [health for health in found if health is not None]

    def tend(self) -> None:
        """Report folders whose file system stopped responding or responds again; to be called periodically."""
        now = self._clock()
        for folder, runner in self._runners.items():
            health = runner.health(now)
            hung = runner.hangs(now)
            if health is not None and hung != (folder in self._hung):
                (self._hung.add if hung else self._hung.discard)(folder)
                self._say(health)

    def silent_threads(self, now: float, seconds: float) -> list[int]:
        """Native ids of threads blocked in one file system call for `seconds` or longer; `now`: monotonic seconds."""
        found = [runner.silent_thread(now, seconds) for runner in self._runners.values()]
        return [thread for thread in found if thread is not None]

    def unsettled(self) -> int:
        """Number of files that are settling."""
        return sum(runner.unsettled() for runner in self._runners.values())

    def unsettled_files(self) -> list[UnsettledFile]:
        """Files that are settling, the first seen first; of each folder at most `runner.LISTED`."""
        found = [file for runner in self._runners.values() for file in runner.unsettled_files()]
        return sorted(found, key=lambda file: file.since)

    def alive(self) -> bool:
        """False once a required thread has died: the service must then stop, since files would go unnoticed."""
        if self._stopped or not self._started:
            return True
        return all(runner.alive() for runner in self._runners.values())

    def _say(self, notice: Notice) -> None:
        if not self._stopped:
            self._sink(notice)
