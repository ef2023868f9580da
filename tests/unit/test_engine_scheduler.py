"""The engine's scheduler with fakes: a failed batch, a lost segment, an aborted stream."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from dropscribe.engine.core.batcher import THROUGHPUT_WAIT_TIMES, Batcher
from dropscribe.engine.core.interfaces import (
    Hypothesis,
    Pcm,
    Recogniser,
    Region,
    SpeechSegment,
    Vad,
    VadChunk,
    VadModel,
)
from dropscribe.engine.core.scheduler import LOOK_S, THROUGHPUT_STREAMS, Scheduler
from dropscribe.engine.core.streams import Stream
from dropscribe.engine.core.vad_schedule import REST_S
from dropscribe.engine.models.null import NullRecogniser, NullVadModel
from dropscribe.engine.protocol import (
    Abort,
    BlockFreed,
    Event,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
    StreamOptions,
)
from dropscribe.engine.wire import Aborted, Report
from dropscribe.errors import EngineDiedError, OutOfDeviceMemoryError
from dropscribe.transcript.types import NO_TOKENS
from tests.support.engines import Script
from tests.support.stages import Ahead, Deep, FailsOn, Listening

MINUTE = 60 * 16_000


class Bench:
    """A scheduler with inspectable fakes. All samples of a block have the value of its offset."""

    def __init__(
        self, recogniser: Recogniser | None = None, vad: VadModel | None = None, budget_s: float = 600.0
    ) -> None:
        self.now = 0.0
        self.inbox = Script()
        self.reports: list[Report] = []
        self.batcher: Batcher[SpeechSegment] = Batcher(budget_s, max_wait_s=1.0)
        self.loop = Scheduler(
            vad or NullVadModel(),
            recogniser or NullRecogniser(),
            self.batcher,
            read=lambda b: np.full(b.samples, b.offset, np.int16),
            send=self.reports.append,
            clock=lambda: self.now,
        )

    def give(self, *messages: PcmBlock | Abort) -> None:
        self.inbox.messages.extend(messages)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.turn(self.inbox)

    @property
    def events(self) -> list[Event | Aborted]:
        return [e for r in self.reports for e in r.events]

    def of(self, kind: type[Event]) -> list[Event]:
        return [e for e in self.events if isinstance(e, kind)]


def test_every_segment_of_a_stream_has_the_hotwords_of_its_first_block() -> None:
    listening = Listening()
    bench = Bench(listening)
    bench.give(
        PcmBlock(7, 0, MINUTE, final=False, options=StreamOptions(("达摩院",))),
        PcmBlock(8, 1, MINUTE, final=True),
        PcmBlock(7, 2, MINUTE, final=True),
    )
    bench.turn(3)
    assert sorted(listening.hotwords) == [(7, ("达摩院",)), (7, ("达摩院",)), (8, ())]


def test_a_stream_ends_with_all_its_segments_and_all_its_slots_free() -> None:
    bench = Bench()
    bench.give(PcmBlock(7, 0, MINUTE, final=False), PcmBlock(7, 1, MINUTE // 2, final=True))
    bench.turn(2)
    assert [e.offset for e in bench.events if isinstance(e, BlockFreed)] == [0, 1]
    assert {e.index for e in bench.events if isinstance(e, SegmentDone)} == {0, 1}
    assert bench.of(StreamDone) == [bench.events[-1]]
    end = bench.events[-1]
    assert isinstance(end, StreamDone)
    assert (end.segments, end.audio_ms, end.speech_ms) == (2, 90_000, 90_000)
    assert bench.reports[-1].released == MINUTE + MINUTE // 2


def test_a_stream_without_a_sample_is_done_with_no_segment() -> None:
    bench = Bench()
    bench.give(PcmBlock(7, 0, 0, final=True))
    bench.turn()
    assert bench.events == [BlockFreed(0), StreamDone(7, 0, 0, 0, bench.of(StreamDone)[0].vad_s)]  # type: ignore[union-attr]


def test_audio_occupies_capacity_until_it_is_recognised() -> None:
    bench = Bench()
    bench.give(PcmBlock(7, 0, MINUTE, final=False))
    bench.turn()
    assert bench.reports[-1].released == 0, "its segment waits for a batch"
    bench.now = 1.0
    bench.turn()
    assert bench.reports[-1].released == MINUTE


def test_a_batch_mixes_streams_and_results_have_its_size() -> None:
    bench = Bench()
    bench.give(PcmBlock(1, 0, 16_000, final=True), PcmBlock(2, 1, 32_000, final=True))
    bench.turn(2)
    segments = [e for e in bench.events if isinstance(e, SegmentDone)]
    assert {s.stream for s in segments} == {1, 2}
    assert {s.batch for s in segments} == {1}
    assert {(s.batch_size, s.batch_padded_s, s.batch_audio_s) for s in segments} == {(2, 4.0, 3.0)}


def test_out_of_memory_halves_the_batch_loses_nothing_and_lowers_the_budget() -> None:
    recogniser = FailsOn(OutOfDeviceMemoryError("full"), lambda batch: len(batch) > 2)
    bench = Bench(recogniser)
    bench.give(*(PcmBlock(i, i, 16_000, final=True) for i in range(8)))
    bench.turn(8)
    assert len(bench.of(StreamDone)) == 8
    assert bench.of(StreamFailed) == []
    assert recogniser.sizes == [8, 4, 2, 2, 4, 2, 2]
    assert bench.batcher._budget_s == 2.0
    recogniser.sizes.clear()
    bench.give(*(PcmBlock(10 + i, i, 16_000, final=True) for i in range(8)))
    bench.turn(8)
    assert max(recogniser.sizes) <= 2


def test_a_segment_that_does_not_fit_alone_fails_its_stream_only() -> None:
    bench = Bench(FailsOn(OutOfDeviceMemoryError("full"), lambda b: any(s.stream == 1 for s in b)))
    bench.give(PcmBlock(1, 0, 16_000, final=True), PcmBlock(2, 1, 16_000, final=True))
    bench.turn(2)
    assert [(e.stream, e.code, e.retryable) for e in bench.of(StreamFailed)] == [(1, "device_memory", True)]  # type: ignore[union-attr]
    assert [e.stream for e in bench.of(StreamDone)] == [2]  # type: ignore[union-attr]


def test_an_exception_fails_only_the_recording_that_causes_it() -> None:
    recogniser = FailsOn(ValueError("odd samples"), lambda b: any(s.stream == 2 for s in b))
    bench = Bench(recogniser)
    bench.give(*(PcmBlock(i, i, 16_000, final=True) for i in range(4)))
    bench.turn(4)
    failed = [e for e in bench.events if isinstance(e, StreamFailed)]
    assert [f.stream for f in failed] == [2]
    assert "odd samples" in failed[0].reason
    assert not failed[0].retryable
    assert sorted(e.stream for e in bench.events if isinstance(e, StreamDone)) == [0, 1, 3]
    assert recogniser.sizes == [4, 1, 1, 1, 1]
    assert bench.reports[-1].released == 4 * 16_000


def test_a_lost_device_ends_the_loop() -> None:
    bench = Bench(FailsOn(EngineDiedError("CUDA error"), lambda _: True))
    bench.give(PcmBlock(1, 0, 16_000, final=True))
    with pytest.raises(EngineDiedError):
        bench.turn()


def test_a_segment_without_hypothesis_fails_the_stream_and_not_the_batch() -> None:
    def forgetful(segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return [h for h in NullRecogniser()(segments) if h.stream != 1]

    bench = Bench(forgetful)
    bench.give(PcmBlock(1, 0, 16_000, final=True), PcmBlock(2, 1, 16_000, final=True))
    bench.turn(2)
    failed = [e for e in bench.events if isinstance(e, StreamFailed)]
    assert [(f.stream, f.code, f.retryable) for f in failed] == [(1, "lost_segment", True)]
    assert [e.stream for e in bench.events if isinstance(e, StreamDone)] == [2]


def test_an_empty_hypothesis_is_a_hypothesis() -> None:
    bench = Bench(lambda segments: [Hypothesis(s.stream, s.index, "", NO_TOKENS) for s in segments])
    bench.give(PcmBlock(1, 0, 16_000, final=True))
    bench.turn()
    assert [e.text for e in bench.events if isinstance(e, SegmentDone)] == [""]
    assert len(bench.of(StreamDone)) == 1


def test_after_an_abort_only_slots_are_returned() -> None:
    bench = Bench()
    bench.give(PcmBlock(1, 0, MINUTE, final=False), PcmBlock(1, 1, MINUTE, final=False))
    bench.turn()
    bench.give(Abort(1))
    bench.turn()
    bench.now = 100.0
    bench.turn()
    assert [e.offset for e in bench.events if isinstance(e, BlockFreed)] == [0, 1]
    assert bench.of(SegmentDone) + bench.of(StreamDone) + bench.of(StreamFailed) == []
    assert bench.events[-1] == Aborted(1)
    assert bench.reports[-1].released == 2 * MINUTE


class SickVad:
    """VAD that raises for blocks with samples of value 1."""

    needed_from_ms = 0

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        if pcm.size and pcm[0] == 1:
            raise ZeroDivisionError("no frames")
        return []


class SickVadModel:
    def open(self) -> Vad:
        return SickVad()

    def accept(self, pieces: Sequence[VadChunk]) -> list[Sequence[Region]]:
        return [p.vad.accept(np.concatenate(p.parts), final=p.final) for p in pieces]


def test_a_recording_that_breaks_vad_fails_alone_and_its_later_blocks_are_freed() -> None:
    bench = Bench(vad=SickVadModel())
    bench.give(PcmBlock(1, 1, 160, final=False), PcmBlock(2, 2, 160, final=True))
    bench.turn(2)
    bench.give(PcmBlock(1, 3, 160, final=False), PcmBlock(1, 4, 160, final=True))
    bench.turn(2)
    assert [e.stream for e in bench.events if isinstance(e, StreamFailed)] == [1]
    assert [e.stream for e in bench.events if isinstance(e, StreamDone)] == [2]
    assert [e.offset for e in bench.events if isinstance(e, BlockFreed)] == [1, 2, 3, 4]


class Slow:
    """VAD for speech or silence without end, which needs samples from far back."""

    def __init__(self, *, talking: bool) -> None:
        self._talking = talking
        self._ms = 0

    @property
    def needed_from_ms(self) -> int:
        return self._ms // 60_000 * 60_000 if self._talking else max(0, self._ms - 400)

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        before = self._ms
        self._ms += len(pcm) // 16
        if self._talking and before // 60_000 != self._ms // 60_000:
            end = self._ms // 60_000 * 60_000
            return [Region(end - 60_000, end)]
        return []


@pytest.mark.parametrize("talking", [True, False])
def test_a_stream_never_keeps_all_samples_of_six_hours(talking: bool) -> None:
    vad = Slow(talking=talking)
    stream = Stream(1, vad)
    block = np.zeros(163_840, np.int16)
    found = []
    most = 0
    for _ in range(6 * 3600 * 16_000 // len(block)):
        piece = stream.chunk((block,), final=False)
        regions = vad.accept(block, final=False)
        found += [(s.start_ms, s.samples) for s in stream.accept(piece, regions, 0.0, 0.0)]
        most = max(most, sum(map(len, stream._held)))
    assert most <= MINUTE + len(block)
    assert found == ([(i * 60_000, MINUTE) for i in range(359)] if talking else [])


class Tensor:
    """Stands for device memory allocated by a failed call."""


class Hoarder:
    """Recogniser with memory for one segment at a time, and only if no memory of an earlier call is alive."""

    def __init__(self) -> None:
        self.taken: list[weakref.ref[Tensor]] = []

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        assert [one for one in self.taken if one() is not None] == []
        memory = Tensor()
        self.taken.append(weakref.ref(memory))
        if len(segments) > 1:
            raise OutOfDeviceMemoryError("no room", operation="recognise")
        return NullRecogniser()(segments)


def test_memory_of_a_failed_batch_is_free_before_its_parts_are_tried() -> None:
    hoarder = Hoarder()
    bench = Bench(hoarder)
    bench.give(*(PcmBlock(s, s, MINUTE, final=True) for s in range(4)))
    bench.turn(12)
    assert len([e for e in bench.events if isinstance(e, StreamDone)]) == 4
    assert len(hoarder.taken) > 4, "it did not fit at first"


def freed(bench: Bench) -> int:
    return len([e for e in bench.events if isinstance(e, BlockFreed)])


def many_streams(*, final: bool) -> list[PcmBlock]:
    """One minute of each of as many recordings as start throughput mode, in other slots if it is their last one."""
    first = THROUGHPUT_STREAMS if final else 0
    return [PcmBlock(s, first + s, MINUTE, final) for s in range(THROUGHPUT_STREAMS)]


def test_in_throughput_mode_the_next_vad_pass_runs_while_results_are_taken_over() -> None:
    vad = Ahead()
    bench = Bench(Deep(), vad=vad)
    bench.give(*many_streams(final=False))
    bench.turn()
    everybody = tuple(range(THROUGHPUT_STREAMS))
    assert vad.events == [("begin", everybody)]
    assert freed(bench) == 0, "the device may be reading the slots"
    bench.now += REST_S
    bench.give(*many_streams(final=True))
    bench.turn()
    later = tuple(range(THROUGHPUT_STREAMS, 2 * THROUGHPUT_STREAMS))
    assert vad.events[1:] == [("begin", later), ("finish", everybody)]
    assert freed(bench) == THROUGHPUT_STREAMS, "the second pass reads other slots"
    bench.turn(3)
    assert freed(bench) == 2 * THROUGHPUT_STREAMS
    assert bench.inbox.timeouts[2] in {0.0, LOOK_S}, "what is under way is not left for somebody to come"
    assert vad.events[3:] == [("finish", later)]
    assert len(bench.of(StreamDone)) == THROUGHPUT_STREAMS
    assert len(bench.of(SegmentDone)) == 2 * THROUGHPUT_STREAMS
    assert bench.reports[-1].released == 2 * THROUGHPUT_STREAMS * MINUTE


class Deaf(Ahead):
    """VAD that finds no speech."""

    def finish(self, handle: list[tuple[VadChunk, int]]) -> list[Sequence[Region]]:
        return [[] for _ in handle]


def test_blocks_of_silence_are_reported_as_processed() -> None:
    bench = Bench(Deep(), vad=Deaf())
    bench.give(*many_streams(final=False))
    bench.turn(2)
    assert bench.reports[-1].released == THROUGHPUT_STREAMS * MINUTE


def test_segments_of_a_recording_aborted_during_vad_are_dropped() -> None:
    bench = Bench(Deep(), vad=Ahead())
    bench.give(*many_streams(final=True))
    bench.turn()
    bench.give(Abort(1))
    bench.turn(4)
    slots = [e.offset for e in bench.events if isinstance(e, BlockFreed)]
    assert sorted(slots) == [block.offset for block in many_streams(final=True)], "each slot once"
    assert {e.stream for e in bench.events if isinstance(e, StreamDone)} == set(range(THROUGHPUT_STREAMS)) - {
        1
    }
    assert not [e for e in bench.events if isinstance(e, (SegmentDone, StreamFailed)) and e.stream == 1]
    assert bench.reports[-1].released == THROUGHPUT_STREAMS * MINUTE


def test_a_failed_vad_pass_fails_its_recordings_once_even_if_another_pass_has_started() -> None:
    bench = Bench(Deep(), vad=Ahead(lost=frozenset([2])))
    bench.give(*many_streams(final=False))
    bench.turn()
    bench.now += REST_S
    bench.give(*many_streams(final=True))
    bench.turn(4)
    assert sorted(e.stream for e in bench.events if isinstance(e, StreamFailed)) == list(
        range(THROUGHPUT_STREAMS)
    )
    assert bench.of(SegmentDone) + bench.of(StreamDone) == []
    assert bench.reports[-1].released == 2 * THROUGHPUT_STREAMS * MINUTE
    # No state is kept: a later stream with the same number is served.
    bench.give(PcmBlock(3, 7, MINUTE, final=True))
    bench.turn(3)
    assert [e.stream for e in bench.events if isinstance(e, StreamDone)] == [3]


class Busy(Deep):
    """Like a GPU that has not come further than the batches of these numbers."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.done = 0

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        self.begun.append(segments)
        return len(self.begun) - 1

    def ready(self, handle: int) -> bool:
        return handle < self.done

    def finish(self, handle: int) -> Sequence[Hypothesis]:
        assert handle < self.done, "it would wait"
        return NullRecogniser()(self.begun[handle])  # type: ignore[arg-type]


def test_in_throughput_mode_vad_goes_on_while_the_device_has_as_many_batches_as_it_needs() -> None:
    recogniser = Busy()
    bench = Bench(recogniser, vad=Ahead(), budget_s=60.0)
    bench.give(*many_streams(final=False))
    bench.turn(6)
    assert len(recogniser.begun) == recogniser.depth, "no more are launched"
    assert bench.inbox.timeouts[-1] == LOOK_S
    assert bench.of(SegmentDone) == []
    bench.now += REST_S
    bench.give(*many_streams(final=True))
    bench.turn(3)
    assert freed(bench) == 2 * THROUGHPUT_STREAMS, "blocks are read although no batch is done"
    recogniser.done = 1
    bench.turn(2)
    assert len(bench.of(SegmentDone)) == 1
    assert len(recogniser.begun) == recogniser.depth + 1, "the next one took its place"
    recogniser.done = 2 * THROUGHPUT_STREAMS
    bench.turn(8)
    assert len(bench.of(StreamDone)) == THROUGHPUT_STREAMS


def test_vad_of_a_lone_recording_starts_at_once() -> None:
    bench = Bench(Deep())
    for count in (1, 2, 3):
        bench.give(PcmBlock(1, count, MINUTE, final=False))
        bench.turn()
        assert freed(bench) == count


def test_in_throughput_mode_blocks_share_a_vad_pass_and_segments_a_batch_and_none_waits_for_ever() -> None:
    bench = Bench(Deep())
    bench.give(*(PcmBlock(s, s, 160, final=False) for s in range(THROUGHPUT_STREAMS)))
    bench.turn()
    assert freed(bench) == THROUGHPUT_STREAMS, "the first look"
    bench.give(PcmBlock(0, 0, MINUTE, final=False))
    bench.turn(3)
    assert freed(bench) == THROUGHPUT_STREAMS, "it waits for others"
    bench.now += REST_S
    bench.turn()
    assert freed(bench) == THROUGHPUT_STREAMS + 1
    bench.now += 1.5
    bench.turn(3)
    assert not [e for e in bench.events if isinstance(e, SegmentDone)], "a lone one would be done after 1 s"
    bench.now += THROUGHPUT_WAIT_TIMES
    bench.turn(3)
    assert len([e for e in bench.events if isinstance(e, SegmentDone)]) == 1
