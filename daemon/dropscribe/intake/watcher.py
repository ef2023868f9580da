"""Watches folders: a thread for each follows hints, scans, settles and hands over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dropscribe.config import Folder
from dropscribe.intake.folder import Surroundings
from dropscribe.intake.folder_lock import FolderLocks
from dropscribe.intake.runner import FolderRunner, Forget, Reconfigure, Rescan, Stop
from dropscribe.intake.types import Completeness, FolderHealth, Known, Notice

#: Longest `stop` waits for the threads, seconds.
STOP_S = 5.0
#: Longest `reload` waits for the threads of folders that are no longer watched, seconds.
LEAVE_S = 1.0


class Watcher:
    """Hands every complete file in `folders` to `sink` as an `Arrival`, once per signature.

    What is on disk at the start counts as what arrives later. Events are hints; a scan of every folder each
    `rescan_s` seconds (polled folders: `Folder.poll_s`) is what guarantees. A file that looks as it does in
    `known` is not handed over until it changes; that is asked at the start and whenever the folder comes back
    after it was away, and read once, so that what is not there any more takes no memory. After `Gone` a file of that name is new.

    `known`, `wholeness` and `sink` are called from the folders' threads, several at a time, and must not wait for
    long; what they raise ends the thread (see `alive`). `sink` is the one responsible from then on: after `Arrival` the
    watcher is done with the file unless it changes or `forget` is called. All methods may be called from any
    thread.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        *,
        known: Callable[[Path], Iterable[Known]],
        completeness: Callable[[Path, Sequence[Path]], Iterable[Completeness]],
        sink: Callable[[Notice], None],
        rescan_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._around = Surroundings(known, completeness, self._say, clock, wall, rescan_s, FolderLocks())
        self._folders = tuple(folders)
        #: By path. Replaced as a whole, under the lock, so that it can be read without it.
        self._runners: dict[Path, FolderRunner] = {}
        self._lock = threading.Lock()
        #: Folders that were last said to hang.
        self._hung: set[Path] = set()
        self._started = self._stopped = False

    @property
    def failure(self) -> BaseException | None:
        """What ended a thread, if anything did."""
        return next((r.failure for r in self._runners.values() if r.failure is not None), None)

    def start(self) -> None:
        """Begin; the first scan follows at once, in the folders' threads."""
        self._started = True
        self.reload(self._folders)

    def stop(self) -> bool:
        """Stop; no notice is given afterwards. May be called twice, or without `start`. False when a file system holds a thread."""
        self._stopped = True
        deadline = time.monotonic() + STOP_S
        for runner in self._runners.values():
            runner.send(Stop())
        for runner in self._runners.values():
            runner.join(max(0.0, deadline - time.monotonic()))
        return not any(runner.running() for runner in self._runners.values())

    def rescan_now(self) -> None:
        """Scan every folder at once."""
        for runner in self._runners.values():
            runner.send(Rescan())

    def reload(self, folders: Sequence[Folder]) -> None:
        """Watch these folders from now on, each by the backend that can be had now; what is known of the files of
        those that stay is kept.
        """
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
            # So that a folder that is soon watched again is free; one that hangs ends when it can.
            runner.join(max(0.0, deadline - time.monotonic()))

    def forget(self, path: Path) -> None:
        """Hand `path` over again if it is there, whatever is known of it."""
        for folder, runner in self._runners.items():
            if path.is_relative_to(folder):
                runner.send(Forget(str(path)))

    def health(self) -> list[FolderHealth]:
        """How each folder is, as far as it has been looked at."""
        now = self._clock()
        found = [runner.health(now) for runner in self._runners.values()]
        return [health for health in found if health is not None]

    def tend(self) -> None:
        """Say of folders whose file system stopped answering, or answers again; to be called now and then."""
        now = self._clock()
        for folder, runner in self._runners.items():
            health = runner.health(now)
            hung = runner.hangs(now)
            if health is not None and hung != (folder in self._hung):
                (self._hung.add if hung else self._hung.discard)(folder)
                self._say(health)

    def silent_threads(self, now: float, seconds: float) -> list[int]:
        """The threads (native ids) that have worked, or waited for a file system, for `seconds` (`now`: monotonic) without an answer."""
        found = [runner.silent_thread(now, seconds) for runner in self._runners.values()]
        return [thread for thread in found if thread is not None]

    def unsettled(self) -> int:
        """How many files are waited for."""
        return sum(runner.unsettled() for runner in self._runners.values())

    def alive(self) -> bool:
        """False once a thread it needs has died: the service must stop then, rather than run deaf."""
        if self._stopped or not self._started:
            return True
        return all(runner.alive() for runner in self._runners.values())

    def _say(self, notice: Notice) -> None:
        if not self._stopped:
            self._sink(notice)
