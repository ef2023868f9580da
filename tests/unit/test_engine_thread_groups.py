"""Division of a batch among threads: every segment once, similar work, results in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.layers.thread_groups import UNEVEN, ThreadGroups, divided

LENGTHS = st.lists(st.integers(1, 6_000), max_size=40)


def work(lengths: Sequence[int], group: Sequence[int]) -> int:
    return len(group) * max(lengths[i] for i in group)


@given(LENGTHS, st.integers(1, 9))
def test_every_segment_is_in_one_group(lengths: list[int], threads: int) -> None:
    groups = divided(lengths, threads)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert len(groups) <= threads
    assert all(groups)


@given(LENGTHS.filter(bool), st.integers(1, 9))
def test_no_group_takes_much_longer_than_threads_that_share_everything(
    lengths: list[int], threads: int
) -> None:
    groups = divided(lengths, threads)
    fair = len(lengths) * max(lengths) / threads
    if len(groups) > 1:
        assert max(work(lengths, group) for group in groups) / (threads // len(groups)) <= UNEVEN * fair


@given(st.integers(1, 6_000), st.integers(2, 9), st.integers(4, 9))
def test_many_segments_of_one_length_are_divided_evenly(length: int, threads: int, each: int) -> None:
    groups = divided([length] * (threads * each + 1), threads)
    assert 1 < len(groups) <= threads
    assert max(map(len, groups)) == each + 1


def test_three_segments_are_not_divided_between_two_threads() -> None:
    assert divided([500, 480, 490], 2) == [[1, 2, 0]]
    assert divided([500, 480], 2) == [[1], [0]]


def test_segments_of_similar_length_are_together() -> None:
    assert divided([900, 100, 880, 120, 110, 90, 95, 105], 2) == [[5, 6, 1, 7, 4, 3], [2, 0]]


def test_results_come_in_the_order_of_the_segments_from_several_threads() -> None:
    seen: list[str] = []
    both = threading.Barrier(2, timeout=30)

    def run(group: list[int]) -> list[str]:
        both.wait()  # the groups run side by side
        seen.append(threading.current_thread().name)
        return [f"segment {i}" for i in group]

    groups = ThreadGroups(2)
    assert groups([50, 10, 40, 20], run) == [f"segment {i}" for i in range(4)]
    assert len(set(seen)) == 2


def test_an_error_in_a_group_is_raised_and_the_next_batch_runs() -> None:
    def fail(group: list[int]) -> list[int]:
        if 0 in group:
            raise RuntimeError("not enough memory")
        return group

    groups = ThreadGroups(2)
    with pytest.raises(RuntimeError, match="not enough memory"):
        groups([10, 20], fail)
    assert groups([10, 20], lambda group: group) == [0, 1]
