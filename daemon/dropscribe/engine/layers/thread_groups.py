"""Divide a batch into groups of segments that threads of a CPU run side by side.

Threads that share each operator instead wait for each other some thousand times a batch: for the slowest one each
time, so that any other load on the machine costs a multiple of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")


def divided(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Divide segments into at most `most` groups of similar work; returns the indexes of each group. Pure.

    The work of a group is its number of segments times the longest of them. Segments of similar length share a group.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ascending = [lengths[i] for i in order]
    costs = {c * n for c in ascending for n in range(1, len(order) + 1)}
    limits = sorted(cost for cost in costs if cost >= max(ascending, default=0))
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        if len(_bounds(ascending, limits[middle])) - 1 > most:
            low = middle + 1
        else:
            high = middle
    return [order[a:b] for a, b in pairwise(_bounds(ascending, limits[low]))] if limits else []


def _bounds(ascending: Sequence[int], limit: int) -> list[int]:
    """Bounds of the fewest groups of consecutive segments whose work is at most `limit`."""
    bounds = [0]
    for i, longest in enumerate(ascending):
        if longest * (i + 1 - bounds[-1]) > limit:
            bounds.append(i)
    return [*bounds, len(ascending)] if ascending else [0]


class ThreadGroups:
    """Runs a function for groups of segments in threads of its own. Owned by one thread."""

    def __init__(self, threads: int) -> None:
        """`threads`: those of torch, which are divided among the groups."""
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="recognise")

    def __call__(self, lengths: Sequence[int], run: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """Results for all segments, in their order. `run` gets the indexes of a group and returns one result for each.

        lengths: of the segments. Raises what `run` raises, after all groups have ended.
        """
        groups = divided(lengths, self._threads)
        if len(groups) < 2:
            return list(run(list(range(len(lengths)))))
        each = self._threads // len(groups)
        # The number belongs to the calling thread, but that of some libraries of torch to the whole process.
        torch.set_num_threads(each)
        try:
            futures = [self._pool.submit(_alone, run, group, each) for group in groups]
            wait(futures)
        finally:
            torch.set_num_threads(self._threads)
        made = {
            i: result
            for group, future in zip(groups, futures, strict=True)
            for i, result in zip(group, future.result(), strict=True)
        }
        return [made[i] for i in range(len(lengths))]


def _alone(run: Callable[[list[int]], Sequence[T]], group: list[int], threads: int) -> Sequence[T]:
    torch.set_num_threads(threads)
    with torch.inference_mode():
        return run(group)
