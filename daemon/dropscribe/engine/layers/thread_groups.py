"""Divide a batch into tasks that threads of a CPU run side by side.

Threads that share each operator instead wait for each other some thousand times a batch: for the slowest one each
time, so that any other load on the machine costs a multiple of itself.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")
#: Time of two threads that share every operation, in times of what threads take that never wait; its square for four.
SHARING = 1.3
#: Tasks that each thread would get if all were as large as the next one: they get smaller, so that the threads end
#: together.
TASKS_LEFT = 2


@dataclass(frozen=True, slots=True)
class Division:
    """A batch in tasks."""

    tasks: list[list[int]]  #: indexes of the segments of each task, the task with most work first
    workers: int  #: tasks that run side by side
    each: int  #: threads that share a task


def divided(lengths: Sequence[int], threads: int, largest: int) -> Division:
    """Divide segments into tasks. Pure.

    The work of a task is the sum of its segments' lengths: `largest` at most, unless it is a single segment. The tasks
    get smaller towards the end. Threads share tasks only if they are likely to end earlier then: with one segment for
    two threads, for example.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    best, least = Division([], 1, threads), float("inf")
    workers = min(threads, len(order))
    while workers > 0:
        each = threads // workers
        tasks = list(_tasks(order, lengths, workers, largest))
        time = _time([sum(lengths[i] for i in task) for task in tasks], workers)
        time *= SHARING ** math.log2(each) / each
        if time < least:
            best, least = Division(tasks, workers, each), time
        workers //= 2
    return best


def _tasks(order: Sequence[int], lengths: Sequence[int], workers: int, largest: int) -> Iterator[list[int]]:
    left = sum(lengths)
    task: list[int] = []
    size = 0
    for i in order:
        fair = largest if workers == 1 else (left + size) / (TASKS_LEFT * workers)
        if task and size + lengths[i] > min(largest, fair):
            yield task
            task, size = [], 0
        task.append(i)
        size += lengths[i]
        left -= lengths[i]
    if task:
        yield task


def _time(work: Sequence[int], workers: int) -> int:
    """Work of the worker that gets most, if each takes the next task when it has ended one."""
    ends = [0] * workers
    for one in work:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


class ThreadGroups:
    """Runs tasks in threads of its own. Owned by one thread."""

    def __init__(self, threads: int, largest: int) -> None:
        """`threads`: those of torch, which are divided among the tasks; `largest`: see `divided`."""
        self._threads = threads
        self._largest = largest
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="recognise")

    def __call__(self, lengths: Sequence[int], run: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """Results for all segments, in their order. `run` gets the indexes of a task and returns one result for each.

        lengths: of the segments. Raises what `run` raises, after all tasks have ended.
        """
        division = divided(lengths, self._threads, self._largest)
        results = self.side_by_side(division.tasks, run, workers=division.workers)
        made = {
            i: result
            for task, own in zip(division.tasks, results, strict=True)
            for i, result in zip(task, own, strict=True)
        }
        return [made[i] for i in range(len(lengths))]

    def side_by_side(
        self, tasks: Sequence[S], run: Callable[[S], T], *, workers: int | None = None
    ) -> list[T]:
        """Results of `run` for each task; so many at a time, by default as many as there are threads.

        Raises what `run` raises, after all tasks have ended.
        """
        count = min(len(tasks), workers or self._threads)
        if count < 2:
            return [run(task) for task in tasks]
        each = self._threads // count
        # All threads take from it: `next` of it is one step of the interpreter.
        waiting = iter(enumerate(tasks))
        # The number belongs to the calling thread, but that of some libraries of torch to the whole process.
        torch.set_num_threads(each)
        try:
            futures = [self._pool.submit(_work, waiting, run, each) for _ in range(count)]
            wait(futures)
        finally:
            torch.set_num_threads(self._threads)
        made = dict(pair for future in futures for pair in future.result())
        return [made[i] for i in range(len(tasks))]


def _work(waiting: Iterator[tuple[int, S]], run: Callable[[S], T], threads: int) -> list[tuple[int, T]]:
    """Take one task after another until there are none."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        return [(number, run(task)) for number, task in waiting]
