"""Thread pool for work on many folders in which a file system that hangs delays only its own folder."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from dropscribe.service.activity import Activities, Activity

#: Duration of one file system call after which its folder counts as slow, seconds: the blocked thread is replaced, and
#: no other thread starts work of that folder until the call returns.
SLOW_S = 5.0
#: Most threads of a pool, including those blocked by slow folders.
MOST_THREADS = 256

T = TypeVar("T")


@dataclass(slots=True)
class _Folder(Generic[T]):
    """Queued items of a folder in order of arrival, with their numbers. Guarded by the pool's lock."""

    small: deque[tuple[int, T]] = field(default_factory=deque)
    large: deque[tuple[int, T]] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class _Worker(Generic[T]):
    """Current work of a thread. Guarded by the pool's lock."""

    folder: Path | None = None
    items: list[T] = field(default_factory=list)
    large: bool = False
    slow: bool = False


class FolderPool(Generic[T]):
    """Call `run(folder, items, activity)` for items that were `put`. Thread-safe.

    1. Folders are served in turn; items of a folder are started in order of arrival.
    2. One large item per folder at a time, and large items occupy at most half of the threads, so that small ones do
       not wait for large ones.
    3. A thread blocked by a file system for longer than `SLOW_S` is replaced (see `tend`), and no other thread works on
       its folder until the call returns.
    """

    def __init__(
        self,
        room: str,
        run: Callable[[Path, list[T], Activity], None],
        *,
        threads: int,
        batch: int,
        divided: bool = False,
        activities: Activities,
        died: Callable[[BaseException], None],
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`batch`: most small items of a folder passed to `run` together; with `divided` no more than leaves each other thread
        as many.

        `died` is called with the exception that ended a thread. `around`: context manager entered by each thread.
        """
        self._room = room
        self._run = run
        self._threads = threads
        self._batch = batch
        self._divided = divided
        self._activities = activities
        self._died = died
        self._around = around
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        #: Queued items by folder, in the order in which folders are served.
        self._folders: dict[Path, _Folder[T]] = {}
        self._workers: dict[_Worker[T], Activity] = {}
        self._started = 0
        self._finishing = self._stopping = False

    def start(self) -> None:
        """Start the threads."""
        with self._changed:
            self._fill()

    def put(self, folder: Path, item: T, *, large: bool = False) -> None:
        """Queue an item."""
        with self._changed:
            waiting = self._folders.setdefault(folder, _Folder())
            (waiting.large if large else waiting.small).append((next(self._numbers), item))
            self._changed.notify()

    def put_all(self, folder: Path, items: Iterable[T]) -> None:
        """Queue small items, so that a thread gets as many of them together as it may; no more threads wake than are needed."""
        with self._changed:
            waiting = self._folders.setdefault(folder, _Folder()).small
            waiting.extend((next(self._numbers), item) for item in items)
            self._changed.notify(-(-len(waiting) // self._batch))

    def tend(self) -> None:
        """Replace threads blocked by a slow file system; to be called periodically."""
        with self._changed:
            slow = [w for w in self._workers if w.slow]
            self._mark_slow()
            if not self._stopping:
                self._fill()
            # Else nothing has changed for the threads that wait.
            if slow != [w for w in self._workers if w.slow]:
                self._changed.notify_all()

    def slow(self) -> list[T]:
        """Items of slow folders, started or queued."""
        with self._changed:
            begun = [item for w in self._workers if w.slow for item in w.items]
            folders = {w.folder for w in self._workers if w.slow}
            waiting = [f for path, f in self._folders.items() if path in folders]
            return begun + [item for f in waiting for _, item in (*f.small, *f.large)]

    def finish(self, timeout_s: float) -> bool:
        """Process queued items, then end the threads; False if some are still blocked or `timeout_s` has passed."""
        deadline = self._clock() + timeout_s
        with self._changed:
            self._finishing = True
            while self._busy() and self._clock() < deadline:
                self._changed.wait(0.1)
        return self.stop(max(0.0, deadline - self._clock()))

    def stop(self, timeout_s: float) -> bool:
        """Discard queued items and end the threads; False if some are still blocked or `timeout_s` has passed."""
        deadline = self._clock() + timeout_s
        with self._changed:
            self._stopping = True
            self._folders.clear()
            self._changed.notify_all()
            while any(not w.slow for w in self._workers) and self._clock() < deadline:
                self._changed.wait(0.1)
                self._mark_slow()
            return not self._workers

    def _busy(self) -> bool:
        """True if items of folders that are not slow are under way or queued."""
        self._mark_slow()
        slow = {w.folder for w in self._workers if w.slow}
        waits = any(path not in slow for path, f in self._folders.items() if f.small or f.large)
        return waits or any(w.items and not w.slow for w in self._workers)

    def _mark_slow(self) -> None:
        now = self._clock()
        for worker, activity in self._workers.items():
            worker.slow = bool(worker.items) and any(now - w.since >= SLOW_S for w in activity.waits())

    def _fill(self) -> None:
        missing = self._threads - sum(not w.slow for w in self._workers)
        for _ in range(min(missing, MOST_THREADS - len(self._workers))):
            self._started += 1
            worker: _Worker[T] = _Worker()
            self._workers[worker] = self._activities.enter(self._room)
            name = f"{self._room}-{self._started}"
            threading.Thread(target=self._work, args=(worker,), name=name, daemon=True).start()

    def _work(self, worker: _Worker[T]) -> None:
        activity = self._workers[worker]
        try:
            with self._around():
                while self._next(worker, activity):
                    assert worker.folder is not None
                    self._run(worker.folder, worker.items, activity)
        except BaseException as e:
            self._died(e)
            raise
        finally:
            with self._changed:
                del self._workers[worker]
                self._activities.leave(activity)
                self._changed.notify_all()

    def _next(self, worker: _Worker[T], activity: Activity) -> bool:
        """Assign the worker its next items, waiting for them; False if the thread must end."""
        with self._changed:
            changes = worker.large or worker.slow or self._finishing
            worker.folder, worker.items, worker.large, worker.slow = None, [], False, False
            activity.idle()
            if changes:
                self._changed.notify_all()  # other threads may now be able to start items
            while True:
                if self._stopping or sum(not w.slow for w in self._workers) > self._threads:
                    return False
                if self._choose(worker):
                    activity.begin(worker.folder)
                    return True
                self._changed.wait()

    def _choose(self, worker: _Worker[T]) -> bool:
        slow = {w.folder for w in self._workers if w.slow}
        large = [w.folder for w in self._workers if w.large]
        room = len(large) < max(1, self._threads // 2)
        for path, folder in self._folders.items():
            if path in slow:
                continue
            takes_large = bool(folder.large) and room and path not in large
            if takes_large and (not folder.small or folder.large[0][0] < folder.small[0][0]):
                worker.items, worker.large = [folder.large.popleft()[1]], True
            elif folder.small:
                share = -(-len(folder.small) // self._threads) if self._divided else len(folder.small)
                count = min(self._batch, share)
                worker.items = [folder.small.popleft()[1] for _ in range(count)]
            else:
                continue
            worker.folder = path
            # To the end of the order, or removed while it has no items.
            del self._folders[path]
            if folder.small or folder.large:
                self._folders[path] = folder
            return True
        return False
