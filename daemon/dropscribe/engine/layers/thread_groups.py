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
#: Longest time of the slowest group, in times of what threads take that share every operation and never wait.
UNEVEN = 1.3


def divided(lengths: Sequence[int], threads: int) -> list[list[int]]:
    """Divide segments into at most `threads` groups of similar work; returns the indexes of each group. Pure.

    The work of a group is its number of segments times the longest of them. Segments of similar length share a group.
    One group of all segments, if threads that share every operation are likely to end earlier: three segments for two
    threads, for example.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ascending = [lengths[i] for i in order]
    if len(order) < 2 or threads < 2:
        return [order] if order else []
    least, limit = ascending[-1], ascending[-1] * len(order)
    while least < limit:
        middle = (least + limit) // 2
        if len(_bounds(ascending, middle)) - 1 > threads:
            least = middle + 1
        else:
            limit = middle
    groups = [order[a:b] for a, b in pairwise(_bounds(ascending, limit))]
    alone = limit / (threads // len(groups))
    shared = ascending[-1] * len(order) / threads
    return groups if alone <= UNEVEN * shared else [order]


def _bounds(ascending: Sequence[int], limit: int) -> list[int]:
    """Bounds of the fewest groups of consecutive segments whose work is at most `limit`."""
    bounds = [0]
    for i, longest in enumerate(ascending):
        if longest * (i + 1 - bounds[-1]) > limit:
            bounds.append(i)
    return [*bounds, len(ascending)]


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
