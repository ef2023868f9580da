"""Schedule of VAD passes, and the blocks in each."""

from __future__ import annotations

from collections import deque

import pytest

from dropscribe.engine.core.vad_schedule import ON_GPU, PASS_SAMPLES, Bounds, VadSchedule, next_pass
from dropscribe.engine.protocol import PcmBlock


def test_the_oldest_blocks_come_first_grouped_by_stream() -> None:
    size = PASS_SAMPLES // 4
    bounds = Bounds(PASS_SAMPLES, PASS_SAMPLES)
    blocks = deque(PcmBlock(s, i, size, final=False) for i, s in enumerate([1, 1, 2, 1, 3, 2]))
    assert [[(b.stream, b.offset) for b in one] for one in next_pass(blocks, bounds)] == [
        [(1, 0), (1, 1), (1, 3)],
        [(2, 2)],
    ]
    assert [[b.offset for b in one] for one in next_pass(blocks, bounds)] == [[4], [5]]
    assert next_pass(blocks, bounds) == []


def test_one_stream_takes_no_more_than_its_share_of_a_vad_pass_and_keeps_its_order() -> None:
    sizes = [(1, 40), (1, 30), (2, 50), (1, 20), (3, 10), (1, 10)]
    blocks = deque(PcmBlock(s, i, size, final=False) for i, (s, size) in enumerate(sizes))
    bounds = Bounds(200, 50)
    seen = []
    while blocks:
        seen.append([[(b.stream, b.offset) for b in one] for one in next_pass(blocks, bounds)])
    assert seen == [
        [[(1, 0)], [(2, 2)], [(3, 4)]],
        [[(1, 1), (1, 3)]],
        [[(1, 5)]],
    ]


def test_a_block_above_the_limit_is_a_vad_pass_of_its_own() -> None:
    blocks = deque(PcmBlock(1, i, PASS_SAMPLES + 1, final=False) for i in range(2))
    assert [len(one) for one in next_pass(blocks, ON_GPU)] == [1]
    assert len(blocks) == 1


def test_vad_passes_start_at_once_for_one_stream_and_at_intervals_in_throughput_mode() -> None:
    schedule = VadSchedule()
    assert schedule.wait_s(5.0, 160, throughput_mode=True) == 0.0, "the first look"
    schedule.record_pass(5.0)
    assert schedule.wait_s(5.0, 160, throughput_mode=False) == 0.0
    assert schedule.wait_s(5.0, PASS_SAMPLES, throughput_mode=True) == 0.0, "as much as a look takes"
    rest = schedule.wait_s(5.0, 160, throughput_mode=True)
    assert 0.0 < rest < 1.0
    assert schedule.wait_s(5.0 + rest, 160, throughput_mode=True) == pytest.approx(0.0, abs=1e-9)
