"""What the threads of the rooms are doing: which wait for a file system that does not answer, and which are stuck.

Every worker thread has an `Activity` and states there when it begins and ends work and when it asks a file system for something.
A wait for a file system is nobody's fault here: it is reported, and the daemon goes on. A thread that has work, makes no
progress and does not wait for a file system is a fault of this program: the watchdog of the service manager must end it.
"""

from __future__ import annotations

import contextlib
import itertools
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: A file system that has not answered for so long is reported, seconds.
HUNG_S = 60.0
#: A worker thread without progress for so long is stuck, seconds; rendering a transcript of days takes some.
STUCK_S = 180.0
#: A thread of intake is stuck only after so long, seconds: it reads what is on record of millions of files without a pause.
INTAKE_STUCK_S = 900.0
#: futex(2), in which a thread waits for a lock of this process, by architecture.
_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), -1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call to a file system that has not returned. `since`: monotonic seconds."""

    room: str
    action: str  #: "hash", "publish", …
    folder: Path  #: whose file system it is, as far as the configuration names it
    path: Path
    since: float
    thread: int  #: native id


class Activity:
    """What one worker thread is doing. Written by that thread and its helpers, read by any."""

    def __init__(self, room: str, clock: Callable[[], float]) -> None:
        self.room = room
        self._clock = clock
        #: Monotonic time of the latest progress; None while there is no work.
        self._progress_at: float | None = None
        #: Whose work it is, where that is known, and the thread that does it (native id).
        self._folder: Path | None = None
        self._thread = 0
        #: By a number of its own: helpers of one worker wait for several files at once.
        self._waits: dict[int, Waiting] = {}
        self._numbers = itertools.count()

    def begin(self, folder: Path | None = None) -> None:
        """The calling thread begins with work, on files of `folder`."""
        self._folder, self._thread = folder, threading.get_native_id()
        self._progress_at = self._clock()

    def working(self) -> None:
        """The work has made progress."""
        self._progress_at = self._clock()

    def idle(self) -> None:
        """There is no work."""
        self._progress_at = None

    @contextlib.contextmanager
    def storage(self, action: str, folder: Path, path: Path) -> Iterator[Callable[[], None]]:
        """The calling thread asks the file system of `folder` for something within this block.

        Where that is many calls, the block calls what it is given after each: it has been answered.
        """
        number = next(self._numbers)
        thread = threading.get_native_id()

        def ask() -> None:
            self._waits[number] = Waiting(self.room, action, folder, path, self._clock(), thread)
            if self._progress_at is not None:
                self._progress_at = self._clock()

        ask()
        try:
            yield ask
        finally:
            del self._waits[number]
            if self._progress_at is not None:
                self._progress_at = self._clock()

    def waits(self) -> list[Waiting]:
        """The calls that have not returned; last the work itself, which may be in one that it did not state."""
        stated, at, folder = list(self._waits.values()), self._progress_at, self._folder
        if at is None or folder is None:
            return stated
        return [*stated, Waiting(self.room, "work on", folder, folder, at, self._thread)]

    def silent_s(self, now: float) -> float:
        """Seconds of work without progress."""
        at = self._progress_at
        return 0.0 if at is None else now - at


class Activities:
    """The activities of all rooms. Thread-safe."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        in_kernel: Callable[[int], bool] | None = None,
    ) -> None:
        """`in_kernel`: whether a thread (native id) waits in a system call that is no lock of ours."""
        self._clock = clock
        self._in_kernel = in_kernel or waits_in_kernel
        self._lock = threading.Lock()
        self._all: set[Activity] = set()
        #: Found stuck, until it makes progress: a thread that spins is in some system call now and then.
        self._stuck: set[Activity] = set()

    def enter(self, room: str) -> Activity:
        """The activity of a new worker; `leave` must follow at its end."""
        activity = Activity(room, self._clock)
        with self._lock:
            self._all.add(activity)
        return activity

    def leave(self, activity: Activity) -> None:
        """The worker has ended."""
        with self._lock:
            self._all.discard(activity)
            self._stuck.discard(activity)

    def hangs(self, now: float) -> list[Waiting]:
        """Calls to file systems that have not returned for `HUNG_S`, the oldest first."""
        overdue = [w for a in self._known() for w in a.waits() if now - w.since >= HUNG_S]
        found = [w for w in overdue if self._in_kernel(w.thread)]
        return sorted(found, key=lambda w: w.since)

    def stuck(self, now: float, intake: Iterable[int] = ()) -> list[str]:
        """The rooms with a thread that has work, makes no progress and does not wait for a file system.

        `intake`: threads of intake (native ids), which has no activities, without progress for `INTAKE_STUCK_S`.
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
    """Whether a thread of this process is in a system call other than waiting for a lock; True where it cannot be seen."""
    try:
        call = Path(f"/proc/self/task/{thread}/syscall").read_text(encoding="ascii").split()[0]
    except OSError:
        return True
    return call not in {"running", str(_FUTEX)}
