"""Division of a batch among threads: every segment once, similar work, results in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.layers.thread_groups import ThreadGroups, divided

LENGTHS = st.lists(st.integers(1, 6_000), max_size=40)


def work(lengths: Sequence[int], group: Sequence[int]) -> int:
    return len(group) * max(lengths[i] for i in group)


@given(LENGTHS, st.integers(1, 9))
def test_every_segment_is_in_one_group(lengths: list[int], most: int) -> None:
    groups = divided(lengths, most)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert len(groups) <= most
    assert all(groups)


@given(LENGTHS.filter(bool), st.integers(1, 9))
def test_no_group_has_much_more_work_than_a_fair_share(lengths: list[int], most: int) -> None:
    fair = len(lengths) * max(lengths) / most
    assert max(work(lengths, group) for group in divided(lengths, most)) <= fair + max(lengths)


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
