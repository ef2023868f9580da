"""Track worker threads, to detect calls to file systems that hang, and threads that are stuck.

Every worker thread has an `Activity`, in which it marks the start and end of work and of calls to a file system. A call
that hangs is an environmental fault: it is reported, and the daemon continues. A thread with work but without progress
that is not in such a call is a bug: the watchdog of the service manager must restart the daemon.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

#: Duration of a call after which its file system is reported as hanging, seconds.
HUNG_S = 60.0
#: Time without progress after which a worker thread is stuck, seconds; rendering a transcript of days takes less.
STUCK_S = 180.0
#: The same for a thread of intake, seconds: it reads the records of millions of files in one step.
INTAKE_STUCK_S = 900.0
#: Number of futex(2), by which a thread waits for a lock of this process, by architecture.
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), -1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call to a file system that has not returned. `since`: monotonic seconds."""

    room: str
    action: str  #: "hash", "publish", …
    folder: Path  #: configured folder of that file system
    path: Path
    since: float
    thread: int  #: native id


class Activity:
    """Current work of one worker thread. Written by that thread and its helpers, read by any."""

    def __init__(self, room: str, clock: Callable[[], float]) -> None:
        self.room = room
        self._clock = clock
        #: Time of the last progress, monotonic seconds; None without work.
        self._progress_at: float | None = None
        #: Folder of the work, if known, and the thread that does it (native id).
        self._folder: Path | None = None
        self._thread = 0
        #: Calls under way, in the order of their begin; helpers of one worker may be in several at once.
        self._calls: dict[_Call, None] = {}

    def begin(self, folder: Path | None = None) -> None:
        """Mark that the calling thread starts work on files of `folder`."""
        self._folder, self._thread = folder, threading.get_native_id()
        self._progress_at = self._clock()

    def working(self) -> None:
        """Mark progress."""
        self._progress_at = self._clock()

    def idle(self) -> None:
        """Mark that there is no work."""
        self._progress_at = None

    def storage(self, action: str, folder: Path, path: Path) -> AbstractContextManager[Callable[[], None]]:
        """Context manager for calls of this thread to the file system of `folder`.

        If the block makes several calls, it must call the yielded function after each one that has returned.
        """
        return _Call((self.room, action, folder, path), self._calls, self._progress)

    def _progress(self) -> float:
        """Mark progress, if there is work; returns the time, monotonic seconds."""
        now = self._clock()
        if self._progress_at is not None:
            self._progress_at = now
        return now

    def waits(self) -> list[Waiting]:
        """Calls that have not returned, and last the work itself, which may be in a call that was not marked."""
        stated, at, folder = [call.waiting() for call in list(self._calls)], self._progress_at, self._folder
        if at is None or folder is None:
            return stated
        return [*stated, Waiting(self.room, "work on", folder, folder, at, self._thread)]

    def silent_s(self, now: float) -> float:
        """Time of work without progress, seconds."""
        at = self._progress_at
        return 0.0 if at is None else now - at


class _Call:
    """A call to a file system under way: the context manager of `Activity.storage`.

    Some ten of them are marked for each recording, and few are ever read: the record is made when it is.
    """

    __slots__ = ("_calls", "_of", "_progress", "_since", "_thread")

    def __init__(
        self, of: tuple[str, str, Path, Path], calls: dict[_Call, None], progress: Callable[[], float]
    ) -> None:
        """`of`: room, action, folder and path. `calls`: where it is while it is under way."""
        self._of = of
        self._calls = calls
        self._progress = progress
        self._since = 0.0
        self._thread = 0

    def __enter__(self) -> Callable[[], None]:
        self._thread = threading.get_native_id()
        self._mark()
        self._calls[self] = None
        return self._mark

    def __exit__(self, *_: object) -> None:
        del self._calls[self]
        self._progress()

    def _mark(self) -> None:
        self._since = self._progress()

    def waiting(self) -> Waiting:
        return Waiting(*self._of, self._since, self._thread)


class Activities:
    """The activities of all rooms. Thread-safe."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        in_kernel: Callable[[int], bool] | None = None,
    ) -> None:
        """`in_kernel`: True if a thread (native id) is blocked in a system call other than for a lock."""
        self._clock = clock
        self._in_kernel = in_kernel or waits_in_kernel
        self._lock = threading.Lock()
        self._all: set[Activity] = set()
        #: Stuck activities, until they make progress: a thread in a busy loop is occasionally in a system call.
        self._stuck: set[Activity] = set()

    def enter(self, room: str) -> Activity:
        """Register a worker thread, by which its calls are timed; the caller must `leave` when the thread ends.

        `room`: the name of the part of the daemon, as status and log show it.
        """
        activity = Activity(room, self._clock)
        with self._lock:
            self._all.add(activity)
        return activity

    def leave(self, activity: Activity) -> None:
        """Remove the activity of a worker that has ended."""
        with self._lock:
            self._all.discard(activity)
            self._stuck.discard(activity)

    def hangs(self, now: float) -> list[Waiting]:
        """Calls to file systems that have not returned for `HUNG_S`, oldest first."""
        overdue = [w for a in self._known() for w in a.waits() if now - w.since >= HUNG_S]
        found = [w for w in overdue if self._in_kernel(w.thread)]
        return sorted(found, key=lambda w: w.since)

    def stuck(self, now: float, intake: Iterable[int] = ()) -> list[str]:
        """Rooms with a stuck thread: with work, without progress, and not in a call to a file system.

        `intake`: native ids of threads of intake (which has no activities) without progress for `INTAKE_STUCK_S`.
        """
        spinning = ["intake"] if any(not self._in_kernel(thread) for thread in intake) else []
        for activity in self._known():
            if activity.silent_s(now) < STUCK_S:
                self._stuck.discard(activity)
            elif not any(self._in_kernel(w.thread) for w in activity.waits() if w.thread):
                self._stuck.add(activity)
        return sorted({*spinning, *(a.room for a in self._stuck)})

    def _known(self) -> list[Activity]:
        with self._lock:
            return list(self._all)


def waits_in_kernel(thread: int) -> bool:
    """True if a thread of this process is in a system call other than for a lock, or if that is unknown."""
    try:
        call = Path(f"/proc/self/task/{thread}/syscall").read_text(encoding="ascii").split()[0]
    except OSError:
        return True
    return call not in {"running", str(_FUTEX)}
