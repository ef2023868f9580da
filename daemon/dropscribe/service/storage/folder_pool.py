"""Work on the files of many folders, on a few threads, such that a folder whose file system hangs holds up only itself."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from dropscribe.service.activity import Activities, Activity

#: Work that makes no progress for so long, seconds, as a call to a file system does not return, makes its folder slow: another thread takes the place of the one
#: that waits, and none begins with work of that folder until the call has returned.
SLOW_S = 5.0
#: Threads of a pool, those that wait for slow folders included.
MOST_THREADS = 256

T = TypeVar("T")


@dataclass(slots=True)
class _Folder(Generic[T]):
    """Work that waits, in order of arrival. Guarded by the pool's lock."""

    small: deque[tuple[int, T]] = field(default_factory=deque)
    large: deque[tuple[int, T]] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class _Worker(Generic[T]):
    """What a thread is at. Guarded by the pool's lock."""

    folder: Path | None = None
    items: list[T] = field(default_factory=list)
    large: bool = False
    slow: bool = False


class FolderPool(Generic[T]):
    """Runs `run(folder, items, activity)` for what is `put`. Thread-safe.

    1. Folders take turns; within a folder work is begun in order of arrival.
    2. At most one large item of a folder is worked on at a time, and large items occupy at most half the threads, so that small
       ones never wait for large ones to end.
    3. A thread that waits for a file system longer than `SLOW_S` is replaced (see `tend`), and its folder gets no other thread
       until it has come back.
    """

    def __init__(
        self,
        room: str,
        run: Callable[[Path, list[T], Activity], None],
        *,
        threads: int,
        batch: int,
        activities: Activities,
        died: Callable[[BaseException], None],
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`batch`: most small items of a folder given to `run` together. `died` is called with what ended a thread, `around` for
        what surrounds the life of each.
        """
        self._room = room
        self._run = run
        self._threads = threads
        self._batch = batch
        self._activities = activities
        self._died = died
        self._around = around
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        #: By folder, the one whose turn is next first.
        self._folders: dict[Path, _Folder[T]] = {}
        self._workers: dict[_Worker[T], Activity] = {}
        self._started = 0
        self._finishing = self._stopping = False

    def start(self) -> None:
        """Start the threads."""
        with self._changed:
            self._fill()

    def put(self, folder: Path, item: T, *, large: bool = False) -> None:
        """Have `item` worked on."""
        with self._changed:
            waiting = self._folders.setdefault(folder, _Folder())
            (waiting.large if large else waiting.small).append((next(self._numbers), item))
            self._changed.notify()

    def tend(self) -> None:
        """Replace threads that wait for a slow file system; to be called now and then."""
        with self._changed:
            self._mark()
            if not self._stopping:
                self._fill()
            self._changed.notify_all()

    def slow(self) -> list[T]:
        """The items that wait for slow file systems, begun or not."""
        with self._changed:
            begun = [item for w in self._workers if w.slow for item in w.items]
            folders = {w.folder for w in self._workers if w.slow}
            waiting = [f for path, f in self._folders.items() if path in folders]
            return begun + [item for f in waiting for _, item in (*f.small, *f.large)]

    def finish(self, timeout_s: float) -> bool:
        """Work off what was put, then end the threads; False when some still wait for a file system, or time is over."""
        deadline = self._clock() + timeout_s
        with self._changed:
            self._finishing = True
            while self._busy() and self._clock() < deadline:
                self._changed.wait(0.1)
        return self.stop(max(0.0, deadline - self._clock()))

    def stop(self, timeout_s: float) -> bool:
        """Drop what has not begun and end the threads; False when some still wait for a file system, or time is over."""
        deadline = self._clock() + timeout_s
        with self._changed:
            self._stopping = True
            self._folders.clear()
            self._changed.notify_all()
            while any(not w.slow for w in self._workers) and self._clock() < deadline:
                self._changed.wait(0.1)
                self._mark()
            return not self._workers

    def _busy(self) -> bool:
        """Whether anything is under way or waits that no slow file system holds up."""
        self._mark()
        slow = {w.folder for w in self._workers if w.slow}
        waits = any(path not in slow for path, f in self._folders.items() if f.small or f.large)
        return waits or any(w.items and not w.slow for w in self._workers)

    def _mark(self) -> None:
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
        """Give the worker its next items, waiting for them; False when it is to end."""
        with self._changed:
            changes = worker.large or worker.slow or self._finishing
            worker.folder, worker.items, worker.large, worker.slow = None, [], False, False
            activity.idle()
            if changes:
                self._changed.notify_all()  # others may begin what they could not
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
                count = min(self._batch, len(folder.small))
                worker.items = [folder.small.popleft()[1] for _ in range(count)]
            else:
                continue
            worker.folder = path
            # Behind the others, or out while it has nothing.
            del self._folders[path]
            if folder.small or folder.large:
                self._folders[path] = folder
            return True
        return False
