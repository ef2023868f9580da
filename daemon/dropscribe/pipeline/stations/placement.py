"""Which station has which attempt, and which one gets the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable

from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Progress, Work
from dropscribe.pipeline.stations.remote_station import Given, RemoteStation

#: Pause of the daemon after which silence of stations is its own fault, seconds.
PAUSE_S = 3.0


class Placement:
    """Attempts of several stations. Owned by the daemon's main thread."""

    def __init__(self, stations: Callable[[], Iterable[RemoteStation]], now: float) -> None:
        """`stations`: all that there are now, in an order that stays; `now`: monotonic seconds."""
        self._stations = stations
        self._of: dict[int, RemoteStation] = {}
        #: Stations with room, as a heap of (negative room, order, station), and the sum of it; None once anything but `start` changed it.
        self._free: list[tuple[int, int, RemoteStation]] | None = None
        self._room = 0
        self._turned_at = now

    @property
    def tickets(self) -> list[int]:
        """Attempts in progress."""
        return list(self._of)

    def room(self) -> int:
        """Number of attempts that can be started now."""
        self._heap()
        return self._room

    def begin_turn(self, now: float, longest_s: float) -> bool:
        """Note that stations may have reported; false, and none is to blame for its silence, if this process was stopped itself.

        `longest_s`: longest wait of a turn, seconds.
        """
        self.changed()
        stopped = now - self._turned_at > max(PAUSE_S, longest_s + 1.0)
        if stopped:
            for station in self._stations():
                station.forgive(now)
        self._turned_at = now
        return not stopped

    def changed(self) -> None:
        """Note that stations have other room than before, or are other ones."""
        self._free = None

    def start(
        self, work: Work, tried: Collection[str] = (), last: Callable[[RemoteStation], bool] | None = None
    ) -> bool:
        """Give an attempt to the station with the most room; false if none has any.

        `tried`: names of stations that do not get it; `last`: whether a station gets it only if no other one can.
        """
        heap = self._heap()
        while heap and -heap[0][0] != (room := heap[0][2].room()):
            # It went silent or is lost, or got what another one had tried.
            _replace_first(heap, room)
        if not heap:
            return False
        most = heap[0]
        if most[2].name in tried or (last is not None and last(most[2])):
            able = [entry for entry in heap if entry[2].name not in tried and entry[2].room() > 0]
            if not able:
                return False
            most = min(able, key=lambda entry: (last is not None and last(entry[2]), *entry[:2]))
        station = most[2]
        self._of[work.ticket] = station
        station.start(work)
        self._room -= 1
        if most is heap[0]:
            _replace_first(heap, station.room())
        return True

    def abort(self, ticket: int) -> None:
        """Cancel an attempt; ignored once it has ended."""
        station = self._of.pop(ticket, None)
        if station is not None:
            station.abort(ticket)
            self.changed()

    def ended(self, ticket: int) -> None:
        """Note that its station does not have an attempt any more."""
        self._of.pop(ticket, None)

    def progress(self, ticket: int, *, waits: bool) -> Progress | None:
        """See `Attempts`; `waits`: the attempt waits for a station."""
        given = self._given(ticket)
        if given is not None:
            return given.progress
        return Progress(0, 0, None) if waits else None

    def heard(self, ticket: int, now: float, *, waits: bool) -> Heard | None:
        """See `Attempts` and `progress`; `now`: monotonic seconds."""
        given = self._given(ticket)
        if given is not None:
            return given.heard or Heard(given.since, 0, 0, None)
        return Heard(now, 0, 0, None) if waits else None

    def texts(self, ticket: int) -> tuple[str, ...]:
        """See `Attempts`."""
        given = self._given(ticket)
        return () if given is None else given.texts

    def _given(self, ticket: int) -> Given | None:
        """What is known of an attempt in progress; None if no station has it."""
        station = self._of.get(ticket)
        return None if station is None else station.given(ticket)

    def flush(self, *, ask: bool) -> None:
        """Send what was ordered; see `RemoteStation.flush`."""
        for station in self._stations():
            station.flush(ask=ask)

    def _heap(self) -> list[tuple[int, int, RemoteStation]]:
        """Stations with room, the one with the most first: hundreds of recordings a second are started, at dozens of stations."""
        if self._free is None:
            stations = enumerate(self._stations())
            self._free = [(-room, order, s) for order, s in stations if (room := s.room()) > 0]
            self._room = -sum(entry[0] for entry in self._free)
            heapq.heapify(self._free)
        return self._free


def _replace_first(heap: list[tuple[int, int, RemoteStation]], room: int) -> None:
    """Note the room that the first station has now."""
    _, order, station = heap[0]
    if room > 0:
        heapq.heapreplace(heap, (-room, order, station))
    else:
        heapq.heappop(heap)
