"""VAD passes over many streams: participants, division of time, and failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import VadChunk
from dropscribe.engine.core.streams import Stream
from dropscribe.engine.core.vad_runner import Found, Offered, VadRunner
from dropscribe.engine.models.null import NullVad
from dropscribe.errors import EngineDiedError, OutOfDeviceMemoryError
from tests.support.stages import Ahead, Fragile

MINUTE = 60 * 16_000


def offered(count: int) -> list[Offered]:
    """One minute of each stream, with its number as samples."""
    return [Offered(Stream(i, NullVad()), (np.full(MINUTE, i, np.int16),), final=True) for i in range(count)]


def search(model: Fragile, streams: Sequence[Offered], now: float) -> Iterator[Found]:
    """Run one VAD pass."""
    one = VadRunner(model)
    one.begin(streams)
    return one.finish(now)


def test_all_streams_share_one_call_and_its_time_is_divided_by_samples() -> None:
    model = Fragile(ValueError(), most=100)
    streams = offered(4)
    streams[3] = Offered(streams[3].stream, (np.full(2 * MINUTE, 3, np.int16),), final=True)
    found = list(search(model, streams, 5.0))
    assert model.calls == [4]
    assert [(o.stream.number, [s.start_ms for s in said]) for o, said in found if isinstance(said, list)] == [
        (0, [0]), (1, [0]), (2, [0]), (3, [0, 60_000]),
    ]  # fmt: skip
    assert {s.found_at for _, said in found if isinstance(said, list) for s in said} == {5.0}
    costs = []
    for one, said in found:
        assert isinstance(said, list)
        for _ in said:
            one.stream.answered()
        end = one.stream.end()
        assert end is not None
        costs.append(end.vad_s)
    assert costs[3] == pytest.approx(2 * costs[0])


def test_without_streams_there_is_no_call() -> None:
    model = Fragile(ValueError())
    assert list(search(model, [], 0.0)) == []
    assert model.calls == []


def test_a_stream_that_breaks_vad_fails_alone() -> None:
    model = Fragile(ZeroDivisionError("no frames"), bad=2)
    found = [(o.stream.number, said) for o, said in search(model, offered(5), 0.0)]
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert [number for number, said in found if isinstance(said, Exception)] == [2]
    assert all(len(said) == 1 for _, said in found if isinstance(said, list))


def test_out_of_memory_makes_smaller_calls_and_fails_no_stream() -> None:
    model = Fragile(OutOfDeviceMemoryError("full"), most=2)
    found = list(search(model, offered(8), 0.0))
    assert len(found) == 8
    assert not any(isinstance(said, Exception) for _, said in found)
    assert model.calls == [8, 4, 2, 2, 4, 2, 2]


def test_a_lost_device_fails_no_stream() -> None:
    with pytest.raises(EngineDiedError):
        list(search(Fragile(EngineDiedError("CUDA error"), most=0), offered(3), 0.0))


class Slow(Ahead):
    """Has not come further than the passes of these streams."""

    done: frozenset[int] = frozenset()

    def ready(self, handle: list[tuple[VadChunk, int]]) -> bool:
        return self.done.issuperset(number for _, number in handle)


def test_passes_are_finished_in_order_and_those_that_are_not_ready_left_under_way() -> None:
    model = Slow()
    runner = VadRunner(model)
    streams = offered(6)
    for pair in (streams[:2], streams[2:4], streams[4:]):
        runner.begin(pair)
    assert runner.samples == 6 * MINUTE
    model.done = frozenset({2, 3})
    assert list(runner.finish(0.0, wait=False)) == [], "the oldest first"
    model.done = frozenset({0, 1, 2, 3})
    assert [one.stream.number for one, _ in runner.finish(0.0, wait=False)] == [0, 1, 2, 3]
    assert runner.samples == 2 * MINUTE
    assert len(runner) == 1
    assert [one.stream.number for one, _ in runner.finish(0.0)] == [4, 5]
    assert [streams for what, streams in model.events if what == "finish"] == [(0, 1), (2, 3), (4, 5)]
    assert runner.samples == 0


def test_a_pass_that_fails_in_finish_fails_only_its_streams() -> None:
    runner = VadRunner(Ahead(lost=frozenset([1])))
    streams = offered(4)
    runner.begin(streams[:2])
    runner.begin(streams[2:])
    found = [(one.stream.number, isinstance(said, RuntimeError)) for one, said in runner.finish(0.0)]
    assert found == [(0, True), (1, True), (2, False), (3, False)]
