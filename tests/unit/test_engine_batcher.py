"""Guarantees of the batcher: each segment exactly once, within the budget, no starvation, no needless wait."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.core.batcher import Batch, Batcher


@dataclass(frozen=True)
class Seg:
    stream: int
    audio_s: float
    name: int = 0


LENGTHS = st.floats(0.1, 60.0)
SEGMENTS = st.lists(st.tuples(st.integers(1, 5), LENGTHS), min_size=1, max_size=60).map(
    lambda rows: [Seg(stream, audio_s, i) for i, (stream, audio_s) in enumerate(rows)]
)
BUDGETS = st.floats(1.0, 200.0)


def filled(segments: list[Seg], budget_s: float) -> Batcher[Seg]:
    batcher: Batcher[Seg] = Batcher(budget_s, max_wait_s=0.1)
    for segment in segments:
        batcher.add(segment, now=0.0)
    return batcher


def drained(batcher: Batcher[Seg]) -> list[Batch[Seg]]:
    batches = []
    while (batch := batcher.next(0.0, flush=True)) is not None:
        batches.append(batch)
    return batches


@given(SEGMENTS, BUDGETS)
def test_every_segment_is_in_exactly_one_batch(segments: list[Seg], budget_s: float) -> None:
    batcher = filled(segments, budget_s)
    names = [s.name for batch in drained(batcher) for s in batch.segments]
    assert sorted(names) == [s.name for s in segments]
    assert len(batcher) == 0


@given(SEGMENTS, BUDGETS)
def test_no_batch_is_above_the_budget_unless_it_is_one_segment(segments: list[Seg], budget_s: float) -> None:
    for batch in drained(filled(segments, budget_s)):
        longest = max(s.audio_s for s in batch.segments)
        assert batch.padded_s == longest * len(batch.segments)
        assert batch.padded_s <= budget_s or len(batch.segments) == 1


@given(SEGMENTS, BUDGETS)
def test_segments_of_a_batch_are_sorted_by_length_and_batches_are_numbered(
    segments: list[Seg], budget_s: float
) -> None:
    batches = drained(filled(segments, budget_s))
    for batch in batches:
        lengths = [s.audio_s for s in batch.segments]
        assert lengths == sorted(lengths)
    assert [b.number for b in batches] == list(range(1, len(batches) + 1))


@given(st.lists(st.lists(LENGTHS, max_size=6), min_size=1, max_size=20), BUDGETS, LENGTHS)
def test_no_segment_starves_while_others_keep_arriving(
    later: list[list[float]], budget_s: float, odd_length: float
) -> None:
    """The oldest segment is in the next batch, regardless of later arrivals and of its length."""
    batcher: Batcher[Seg] = Batcher(budget_s, max_wait_s=0.1)
    waiting: list[int] = []
    name = 0
    for arrivals in [[odd_length], *later]:
        for audio_s in arrivals:
            batcher.add(Seg(1, audio_s, name), now=float(name))
            waiting.append(name)
            name += 1
        batch = batcher.next(1e9)
        if waiting:
            assert batch is not None
            assert waiting[0] in {s.name for s in batch.segments}
            waiting = [n for n in waiting if n not in {s.name for s in batch.segments}]
        else:
            assert batch is None


@given(SEGMENTS, BUDGETS, st.integers(1, 5))
def test_a_dropped_stream_is_in_no_batch_and_the_others_are(
    segments: list[Seg], budget_s: float, stream: int
) -> None:
    batcher = filled(segments, budget_s)
    dropped = list(batcher.drop(stream))
    names = [s.name for batch in drained(batcher) for s in batch.segments]
    assert sorted(s.name for s in dropped) == [s.name for s in segments if s.stream == stream]
    assert sorted(names) == [s.name for s in segments if s.stream != stream]


def test_a_thin_queue_waits_until_the_deadline_and_no_longer() -> None:
    batcher: Batcher[Seg] = Batcher(60.0, max_wait_s=0.1)
    assert batcher.deadline() is None
    batcher.add(Seg(1, 3.0), now=10.0)
    batcher.add(Seg(2, 3.0), now=10.09)
    assert batcher.deadline() == 10.1
    assert batcher.next(10.05) is None
    batch = batcher.next(10.1)
    assert batch is not None
    assert {s.stream for s in batch.segments} == {1, 2}
    assert batcher.deadline() is None


def test_in_throughput_mode_a_batch_waits_longer_but_not_for_ever() -> None:
    batcher: Batcher[Seg] = Batcher(60.0, max_wait_s=0.1)
    batcher.add(Seg(1, 5.0), now=10.0)
    due = batcher.deadline(throughput_mode=True)
    assert due is not None
    assert 10.5 < due < 12.0
    assert batcher.next(due - 0.01, throughput_mode=True) is None
    assert batcher.next(due, throughput_mode=True) is not None


def test_a_full_batch_does_not_wait() -> None:
    batcher: Batcher[Seg] = Batcher(12.0, max_wait_s=100.0)
    batcher.add(Seg(1, 4.0), now=0.0)
    batcher.add(Seg(1, 3.5), now=0.0)
    assert batcher.next(0.0) is None, "a third would fit"
    batcher.add(Seg(2, 3.9), now=0.0)
    batch = batcher.next(0.0)
    assert batch is not None
    assert len(batch.segments) == 3


def test_a_batch_starts_when_a_whole_budget_of_audio_is_queued() -> None:
    """Even if there are no segments of a length similar to the oldest."""
    batcher: Batcher[Seg] = Batcher(10.0, max_wait_s=100.0)
    batcher.add(Seg(1, 1.0), now=0.0)
    assert batcher.next(0.0) is None
    batcher.add(Seg(2, 9.0), now=0.0)
    batch = batcher.next(0.0)
    assert batch is not None
    assert [s.stream for s in batch.segments] == [1]


@given(SEGMENTS, BUDGETS, st.data())
def test_what_was_asked_before_changes_no_answer(
    segments: list[Seg], budget_s: float, data: st.DataObject
) -> None:
    """As segments come, streams are dropped and the budget is lowered, a batch starts when it would in a new batcher."""
    batcher, waiting = filled([], budget_s), list[Seg]()
    for segment in segments:
        step = data.draw(st.sampled_from(["add", "add", "drop", "limit"]))
        if step == "add":
            batcher.add(segment, now=0.0)
            waiting.append(segment)
        elif step == "drop":
            batcher.drop(segment.stream)
            waiting = [one for one in waiting if one.stream != segment.stream]
        else:
            budget_s *= data.draw(st.floats(0.3, 1.0))
            batcher.limit(budget_s)
        wanted, found = filled(waiting, budget_s).next(0.0), batcher.next(0.0)
        assert (found and found.segments) == (wanted and wanted.segments)
        waiting = [one for one in waiting if found is None or one not in found.segments]


def test_a_batch_that_is_full_once_an_older_segment_is_dropped_starts_at_once() -> None:
    batcher = filled([Seg(1, 1.0), Seg(2, 60.0)], budget_s=100.0)
    assert batcher.next(0.0) is None, "the long one has no room beside the oldest"
    batcher.drop(1)
    batch = batcher.next(0.0)
    assert batch is not None
    assert [one.audio_s for one in batch.segments] == [60.0]


def test_a_lone_short_segment_starts_at_once_on_flush() -> None:
    batcher: Batcher[Seg] = Batcher(600.0, max_wait_s=100.0)
    batcher.add(Seg(1, 0.5), now=0.0)
    assert batcher.next(0.0) is None
    batch = batcher.next(0.0, flush=True)
    assert batch is not None
    assert batch.audio_s == 0.5


def test_a_segment_above_the_budget_starts_at_once_and_alone() -> None:
    batcher: Batcher[Seg] = Batcher(10.0, max_wait_s=100.0)
    batcher.add(Seg(1, 1.0), now=0.0)
    batcher.add(Seg(2, 50.0), now=0.0)
    assert batcher.next(0.0) is not None
    batch = batcher.next(0.0)
    assert batch is not None
    assert [s.stream for s in batch.segments] == [2]


def test_after_a_limit_batches_stay_below_it() -> None:
    batcher = filled([Seg(1, 5.0, i) for i in range(20)], 60.0)
    batcher.limit(20.0)
    batcher.limit(40.0)
    assert batcher._budget_s == 20.0
    assert max(b.padded_s for b in drained(batcher)) <= 20.0


def test_segments_of_similar_length_share_a_batch() -> None:
    lengths = [1.0, 20.0, 1.1, 20.5, 0.9, 19.5]
    batches = drained(filled([Seg(1, x, i) for i, x in enumerate(lengths)], 62.0))
    audio = sum(b.audio_s for b in batches)
    padded = sum(b.padded_s for b in batches)
    assert padded / audio < 1.1


def test_the_scheduler_runs_without_torch() -> None:
    """Batcher, scheduler loop and null models import torch neither directly nor indirectly."""
    code = (
        "import sys; import dropscribe.engine.core.batcher, dropscribe.engine.core.scheduler, dropscribe.engine.process; "
        "sys.exit('torch' in sys.modules or 'funasr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
