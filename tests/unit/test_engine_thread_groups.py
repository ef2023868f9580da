"""Division of a batch among threads: every segment once, similar work, results in order."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.layers.thread_groups import SHARING, Division, ThreadGroups, divided

LENGTHS = st.lists(st.integers(1, 6_000), max_size=40)
LARGEST = 3_000


def work(lengths: Sequence[int], task: Sequence[int]) -> int:
    return sum(lengths[i] for i in task)


def time_of(lengths: Sequence[int], division: Division) -> float:
    """Time of the threads that take one task after another, in units of work."""
    ends = [0] * division.workers
    for task in division.tasks:
        ends[ends.index(min(ends))] += work(lengths, task)
    return float(max(ends) * SHARING ** math.log2(division.each) / division.each)


@given(LENGTHS, st.integers(1, 9))
def test_every_segment_is_in_one_task(lengths: list[int], threads: int) -> None:
    division = divided(lengths, threads, LARGEST)
    assert sorted(i for task in division.tasks for i in task) == list(range(len(lengths)))
    assert all(division.tasks)
    assert 1 <= division.workers * division.each <= threads
    assert all(len(task) == 1 or work(lengths, task) <= LARGEST for task in division.tasks)


@given(LENGTHS.filter(bool), st.integers(1, 9))
def test_no_division_takes_longer_than_threads_that_share_everything(
    lengths: list[int], threads: int
) -> None:
    shared = sum(lengths) * SHARING ** math.log2(threads) / threads
    assert time_of(lengths, divided(lengths, threads, LARGEST)) <= shared * 1.0001


@given(st.lists(st.integers(200, 1_500), min_size=40, max_size=60), st.integers(1, 4))
def test_many_segments_end_at_almost_the_same_time(lengths: list[int], threads: int) -> None:
    division = divided(lengths, threads, LARGEST)
    assert (division.workers, division.each) == (threads, 1)
    assert time_of(lengths, division) <= sum(lengths) / threads + max(min(lengths) * 2, 1_500)


def test_a_single_segment_is_shared_by_all_threads() -> None:
    assert divided([500], 2, LARGEST) == Division([[0]], 1, 2)
    assert divided([500, 480], 2, LARGEST) == Division([[0], [1]], 2, 1)
    assert divided([500, 490], 8, LARGEST) == Division([[0], [1]], 2, 4)


def test_long_segments_come_first_and_short_ones_together() -> None:
    lengths = [900, 100, 880, 120, 110, 90, 95, 105]
    assert divided(lengths, 1, 1_000).tasks == [[0], [2, 3], [4, 7, 1, 6, 5]]
    assert divided(lengths, 2, 1_000).tasks[:2] == [[0], [2]]


def test_results_come_in_the_order_of_the_segments_from_several_threads() -> None:
    seen: list[str] = []
    both = threading.Barrier(2, timeout=30)

    def run(task: list[int]) -> list[str]:
        if len(seen) < 2:
            seen.append(threading.current_thread().name)
            both.wait()  # the first two tasks run side by side
        return [f"segment {i}" for i in task]

    groups = ThreadGroups(2, LARGEST)
    assert groups([50, 10, 40, 20], run) == [f"segment {i}" for i in range(4)]
    assert len(set(seen)) == 2


def test_an_error_in_a_task_is_raised_and_the_next_batch_runs() -> None:
    def fail(task: list[int]) -> list[int]:
        if 0 in task:
            raise RuntimeError("not enough memory")
        return task

    groups = ThreadGroups(2, LARGEST)
    with pytest.raises(RuntimeError, match="not enough memory"):
        groups([10, 20], fail)
    assert groups([10, 20], lambda task: task) == [0, 1]
