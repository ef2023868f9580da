"""The publishing processes of the daemon: started, lent to lanes, replaced when they end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from dropscribe import logs
from dropscribe.pipeline.sizing import publisher_count
from dropscribe.service.publishing.making.file_maker import FileMaker, Watch
from dropscribe.service.publishing.making.team import SHARE, Child, Team

#: Time before another process is started in the place of one that ended, seconds.
RESTART_S = 10.0
#: Parts of the processes, of which a batch has one, so that others are published beside it.
PARTS = 2
#: Interval of looking whether the processes that others use have become slow, seconds.
_LOOK_S = 1.0


class _Place:
    """The place of one process. Guarded by the lock of `Makers`, or used by the lane that took it."""

    def __init__(self) -> None:
        self.child: Child | None = None
        #: When another one may be started, monotonic seconds.
        self.start_at = 0.0


class Makers:
    """Publishing processes. Thread-safe.

    Where there are none, or none is of use, the lanes do their work. A lane that waits for a file system keeps its processes,
    and nobody waits for those.
    """

    def __init__(
        self, processes: int | None = None, clock: Callable[[], float] = time.monotonic, *, parts: int = PARTS
    ) -> None:
        """`processes`: None for as many as suit this machine; 0: the lanes do all. `parts`: a batch has one of so many."""
        self.processes = publisher_count() if processes is None else processes
        self._clock = clock
        self._most = -(-self.processes // parts)
        self._log = logs.get("service")
        self._changed = threading.Condition()
        self._places = [_Place() for _ in range(self.processes)]
        #: Those that no lane uses.
        self._idle: list[_Place] = []
        self._closing = False

    def start(self) -> None:
        """Start the processes; it takes them half a second, for which the lanes do their work."""
        with self._changed:
            for place in self._places:
                self._start(place)
            self._idle = list(self._places)

    def close(self) -> None:
        """End the processes; one that a lane still uses ends after that."""
        with self._changed:
            self._closing = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for place in idle:
            if place.child is not None:
                place.child.end()
                place.child = None

    @contextlib.contextmanager
    def team(self, jobs: int, here: FileMaker, watch: Watch, working: Callable[[], None]) -> Iterator[Team]:
        """Makers for a batch of so many jobs: at most its part of the processes. `here`: the one of the calling thread. `working` is called while it waits."""
        most = min(-(-jobs // SHARE), self._most)
        taken = self._take(most, working) if self._places else []
        owners = {place.child: place for place in taken if place.child is not None}

        def lost(child: Child, why: str) -> None:
            place = owners[child]
            how = child.end()
            place.child, place.start_at = None, self._clock() + RESTART_S
            message = f"a process that publishes transcripts {why or how}: another one takes its place"
            logs.problem(self._log, logs.Action.STORAGE, message)

        try:
            yield Team(here, watch, list(owners), lost, working)
        finally:
            self._put_back(taken)

    def _take(self, most: int, working: Callable[[], None]) -> list[_Place]:
        """Places with a process, at most so many; waits for one unless all that are in use are slow.

        That includes processes whose lane waits for a file system itself, as when it plans names.
        """
        with self._changed:
            while not self._closing:
                taken = [place for place in self._idle if self._is_usable(place)][:most]
                if taken:
                    self._idle = [place for place in self._idle if place not in taken]
                    for place in taken:
                        if place.child is not None:
                            place.child.news_at = time.monotonic()
                    return taken
                used = [place.child for place in self._places if place not in self._idle]
                if all(child is None or child.is_slow() for child in used):
                    break
                working()
                self._changed.wait(_LOOK_S)
        return []

    def _put_back(self, taken: list[_Place]) -> None:
        with self._changed:
            if not self._closing:
                self._idle += taken
                self._changed.notify_all()
                return
        for place in taken:
            if place.child is not None:
                place.child.end()
                place.child = None

    def _is_usable(self, place: _Place) -> bool:
        if place.child is None and self._clock() >= place.start_at:
            self._start(place)
        return place.child is not None and place.child.is_ready()

    def _start(self, place: _Place) -> None:
        place.start_at = self._clock() + RESTART_S
        # Without a process, as when the system has none left, the lanes do the work.
        with contextlib.suppress(OSError):
            place.child = Child()
