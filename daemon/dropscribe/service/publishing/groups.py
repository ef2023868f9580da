"""Which jobs are published together: policy. A group is closed when there is room for it, never after a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Groups(Generic[T]):
    """Gathers the jobs of each location while enough groups of it are under way. Pure.

    A single job is passed on at once. The slower the disk, the more jobs share a group and its commits.
    """

    def __init__(self, most: int) -> None:
        """`most`: groups of a location under way at once."""
        self._most = most
        #: Locations whose jobs are all passed on at once.
        self.unlimited: frozenset[Path] = frozenset()
        #: By location: jobs and their items, in order.
        self._gathered: dict[Path, list[tuple[int, T]]] = {}
        self._numbers = 0
        #: By job under way: location and number of its group.
        self._group_of: dict[int, tuple[Path, int]] = {}
        #: Jobs under way by group, and groups by location.
        self._sizes: Counter[tuple[Path, int]] = Counter()
        self._counts: Counter[Path] = Counter()

    def add(self, place: Path, job: int, item: T) -> None:
        self._gathered.setdefault(place, []).append((job, item))

    def due(self, *, everything: bool = False) -> Iterator[tuple[Path, T]]:
        """Items to be passed on now, with their location; those of a location at the same time are a group."""
        for place in list(self._gathered):
            if not (everything or place in self.unlimited or self._counts[place] < self._most):
                continue
            group = (place, self._numbers)
            self._numbers += 1
            self._counts[place] += 1
            for job, item in self._gathered.pop(place):
                self._group_of[job] = group
                self._sizes[group] += 1
                yield place, item

    def ended(self, jobs: Iterable[int]) -> None:
        """Note that these jobs are not under way any more."""
        for job in jobs:
            group = self._group_of.pop(job, None)
            if group is None:
                continue
            self._sizes[group] -= 1
            if not self._sizes[group]:
                del self._sizes[group]
                self._counts[group[0]] -= 1
                if not self._counts[group[0]]:
                    del self._counts[group[0]]
