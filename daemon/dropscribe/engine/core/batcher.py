"""Which segments share a forward pass, and when it starts. Pure policy: no clock, no torch."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

#: A batch costs the host nearly the same whatever it holds: with few and large ones it keeps up with a GPU.
CROWDED_TIMES = 8


class Batchable(Protocol):
    """What the batcher needs to know of a segment."""

    @property
    def stream(self) -> int: ...

    @property
    def audio_s(self) -> float: ...


T = TypeVar("T", bound=Batchable)


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Segments of any streams for one forward pass, shortest first."""

    number: int
    segments: tuple[T, ...]

    @property
    def audio_s(self) -> float:
        """Audio seconds, padding not counted."""
        return sum(s.audio_s for s in self.segments)

    @property
    def padded_s(self) -> float:
        """Audio seconds when every segment is padded to the longest."""
        return max(s.audio_s for s in self.segments) * len(self.segments)


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    """A segment in the queue; `order` is its place in the order of arrival."""

    audio_s: float
    order: int
    since: float
    segment: T

    def __lt__(self, other: _Waiting[T]) -> bool:
        return (self.audio_s, self.order) < (other.audio_s, other.order)


class Batcher(Generic[T]):
    """A batch is started when, for the oldest segment waiting:

    1. the batch around it has no room for another segment, or
    2. as much audio waits as a batch may hold: the device must not, or
    3. it has waited `max_wait_s` (`CROWDED_TIMES` as long in a crowd), or
    4. nothing more is on its way (`flush`).

    The oldest segment is in every batch, so that each segment starts after at most as many batches as
    there were older ones. Around it the batch grows by whichever neighbour in length adds the least
    padding, while longest times count stays within `budget_s`. A segment longer than the budget goes alone.
    Owned by one thread.
    """

    def __init__(self, budget_s: float, max_wait_s: float) -> None:
        self._budget_s = budget_s
        self._max_wait_s = max_wait_s
        self._by_length: list[_Waiting[T]] = []
        #: In order of arrival; dictionaries keep it, and let any be taken out.
        self._by_age: dict[int, _Waiting[T]] = {}
        self._queued_s = 0.0
        self._arrivals = 0
        self._batches = 0

    def __len__(self) -> int:
        return len(self._by_age)

    @property
    def budget_s(self) -> float:
        """Padded audio seconds a batch may hold."""
        return self._budget_s

    def limit(self, budget_s: float) -> None:
        """Never again make batches above this: a larger one did not fit the device."""
        self._budget_s = min(self._budget_s, budget_s)

    def add(self, segment: T, now: float) -> None:
        """Queue a segment; `now` is monotonic seconds."""
        waiting = _Waiting(segment.audio_s, self._arrivals, now, segment)
        self._arrivals += 1
        insort(self._by_length, waiting)
        self._by_age[waiting.order] = waiting
        self._queued_s += waiting.audio_s

    def next(self, now: float, *, flush: bool = False, throughput_mode: bool = False) -> Batch[T] | None:
        """The batch to run now, or None if it is better to wait. Its segments leave the queue.

        `crowded`: many recordings are under way, and larger batches serve them better than earlier ones.
        """
        oldest = self._oldest()
        if oldest is None:
            return None
        first, last = self._window(oldest)
        taken = self._by_length[first : last + 1]
        full = taken[-1].audio_s * (len(taken) + 1) > self._budget_s or self._queued_s >= self._budget_s
        if not (full or flush or now >= self._due(oldest, throughput_mode=throughput_mode)):
            return None
        del self._by_length[first : last + 1]
        self._leave(taken)
        self._batches += 1
        return Batch(self._batches, tuple(w.segment for w in taken))

    def deadline(self, *, throughput_mode: bool = False) -> float | None:
        """When the oldest segment will have waited long enough, monotonic seconds; None if none waits."""
        oldest = self._oldest()
        return None if oldest is None else self._due(oldest, throughput_mode=throughput_mode)

    def drop(self, stream: int) -> Iterable[T]:
        """Take every segment of a stream out of the queue; returns them."""
        dropped = [w for w in self._by_age.values() if w.segment.stream == stream]
        self._leave(dropped)
        self._by_length = [w for w in self._by_length if w.segment.stream != stream]
        return [w.segment for w in dropped]

    def _due(self, oldest: _Waiting[T], *, throughput_mode: bool) -> float:
        return oldest.since + self._max_wait_s * (CROWDED_TIMES if throughput_mode else 1)

    def _leave(self, gone: Iterable[_Waiting[T]]) -> None:
        for waiting in gone:
            del self._by_age[waiting.order]
            self._queued_s -= waiting.audio_s
        if not self._by_age:
            self._queued_s = 0.0  # what adding and subtracting fractions has left over

    def _oldest(self) -> _Waiting[T] | None:
        return next(iter(self._by_age.values()), None)

    def _window(self, oldest: _Waiting[T]) -> tuple[int, int]:
        """First and last place in `_by_length` of the batch around `oldest`."""
        queue = self._by_length
        first = last = bisect_left(queue, oldest)
        while first > 0 or last + 1 < len(queue):
            longest, count = queue[last].audio_s, last - first + 1
            shorter_fits = first > 0 and longest * (count + 1) <= self._budget_s
            longer_fits = last + 1 < len(queue) and queue[last + 1].audio_s * (count + 1) <= self._budget_s
            if not (shorter_fits or longer_fits):
                break
            if longer_fits and shorter_fits:
                waste_longer = (queue[last + 1].audio_s - longest) * count
                longer_fits = waste_longer < longest - queue[first - 1].audio_s
            if longer_fits:
                last += 1
            else:
                first -= 1
        return first, last
