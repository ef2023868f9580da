"""Group segments into batches and decide when a batch starts. Pure policy: no clock, no torch."""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

#: Factor on the longest wait in throughput mode. The host's time per batch hardly depends on the batch size, so fewer,
#: larger batches let it keep up with a GPU.
THROUGHPUT_WAIT_TIMES = 8


class Batchable(Protocol):
    """Properties of a segment that the batcher uses."""

    @property
    def stream(self) -> int: ...

    @property
    def audio_s(self) -> float: ...


T = TypeVar("T", bound=Batchable)


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Segments for one forward pass, of one or more streams, shortest first."""

    number: int
    segments: tuple[T, ...]

    @property
    def audio_s(self) -> float:
        """Audio seconds without padding."""
        return sum(s.audio_s for s in self.segments)

    @property
    def padded_s(self) -> float:
        """Audio seconds with every segment padded to the longest."""
        return max(s.audio_s for s in self.segments) * len(self.segments)


class _Waiting(NamedTuple, Generic[T]):
    """A queued segment; `order`: its number in order of arrival; `since`: monotonic seconds.

    By length, then by arrival, as tuples are compared: a GPU gets thousands of segments a second.
    """

    audio_s: float
    order: int
    since: float
    segment: T


class Batcher(Generic[T]):
    """Queue of segments by length and age.

    A batch starts when, for the oldest queued segment:

    1. the batch around it has no room for another segment, or
    2. a whole batch of audio is queued, so that the device need not wait, or
    3. it has waited `max_wait_s` (`THROUGHPUT_WAIT_TIMES` as long in throughput mode), or
    4. no more segments will come for now (`flush`).

    Every batch contains the oldest segment, so a segment waits for at most as many batches as there are older
    segments. The batch grows around it by the neighbour in length that adds the least padding, while longest × count is
    within `budget_s`. A segment longer than the budget is a batch of its own. Owned by one thread.
    """

    def __init__(self, budget_s: float, max_wait_s: float, numbers: Iterator[int] | None = None) -> None:
        """`numbers`: of batches, from 1 by default."""
        self._budget_s = budget_s
        self._max_wait_s = max_wait_s
        self._by_length: list[_Waiting[T]] = []
        #: In order of arrival; a dict, for removal of any segment in constant time.
        self._by_age: dict[int, _Waiting[T]] = {}
        self._queued_s = 0.0
        self._arrivals = 0
        #: `_arrivals` when no batch was found to be full: none is until more arrive.
        self._not_full_at = -1
        self._numbers = itertools.count(1) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._by_age)

    def limit(self, budget_s: float) -> None:
        """Lower the budget for good, after a larger batch did not fit the device."""
        self._budget_s = min(self._budget_s, budget_s)
        self._not_full_at = -1

    def add(self, segment: T, now: float) -> None:
        """Queue a segment; `now` is monotonic seconds."""
        waiting = _Waiting(segment.audio_s, self._arrivals, now, segment)
        self._arrivals += 1
        insort(self._by_length, waiting)
        self._by_age[waiting.order] = waiting
        self._queued_s += waiting.audio_s

    def next(self, now: float, *, flush: bool = False, throughput_mode: bool = False) -> Batch[T] | None:
        """Remove the batch to run now from the queue; None if it is better to wait.

        `throughput_mode`: prefer larger batches to earlier ones, for many concurrent recordings.
        """
        oldest = self._oldest()
        if oldest is None:
            return None
        due = flush or now >= self._due(oldest, throughput_mode=throughput_mode)
        if not due and self._not_full_at == self._arrivals:
            return None
        first, last = self._window(oldest)
        taken = self._by_length[first : last + 1]
        full = taken[-1].audio_s * (len(taken) + 1) > self._budget_s or self._queued_s >= self._budget_s
        if not (full or due):
            self._not_full_at = self._arrivals
            return None
        del self._by_length[first : last + 1]
        self._leave(taken)
        return Batch(next(self._numbers), tuple(w.segment for w in taken))

    def deadline(self, *, throughput_mode: bool = False) -> float | None:
        """Time at which the longest wait of the oldest segment ends, monotonic seconds; None if the queue is empty."""
        oldest = self._oldest()
        return None if oldest is None else self._due(oldest, throughput_mode=throughput_mode)

    def drop(self, stream: int) -> Iterable[T]:
        """Remove every segment of a stream from the queue; returns them."""
        dropped = [w for w in self._by_age.values() if w.segment.stream == stream]
        self._leave(dropped)
        self._by_length = [w for w in self._by_length if w.segment.stream != stream]
        return [w.segment for w in dropped]

    def _due(self, oldest: _Waiting[T], *, throughput_mode: bool) -> float:
        return oldest.since + self._max_wait_s * (THROUGHPUT_WAIT_TIMES if throughput_mode else 1)

    def _leave(self, gone: Iterable[_Waiting[T]]) -> None:
        self._not_full_at = -1
        for waiting in gone:
            del self._by_age[waiting.order]
            self._queued_s -= waiting.audio_s
        if not self._by_age:
            self._queued_s = 0.0  # removes accumulated rounding errors

    def _oldest(self) -> _Waiting[T] | None:
        return next(iter(self._by_age.values()), None)

    def _window(self, oldest: _Waiting[T]) -> tuple[int, int]:
        """First and last index in `_by_length` of the batch around `oldest`."""
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
