"""Log-mel frames are computed once, by the detector, and shared with the recogniser."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Hypothesis, Pcm, Recogniser, SpeechSegment
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.core.streams import Stream
from dropscribe.engine.models import store
from dropscribe.engine.protocol import BlockFreed, PcmBlock, SegmentDone, StreamDone
from dropscribe.engine.wire import Report
from tests.support.engines import FUNASR_WARNS, Script, on_cpu, sample

if TYPE_CHECKING:
    from dropscribe.engine.vad.model import FsmnVadModel

pytestmark = FUNASR_WARNS
RATE = 16_000
#: Samples per block; not a whole number of frames.
BLOCK = 100_003


@pytest.fixture(scope="module")
def detector() -> FsmnVadModel:
    from dropscribe.engine.vad.model import FsmnVadModel

    return FsmnVadModel(on_cpu(store.BUNDLED / "vad-mini"))


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    return ParaformerRecogniser(on_cpu(store.BUNDLED / "paraformer-mini"))


def recordings() -> list[Pcm]:
    said = sample()
    noise = np.random.default_rng(3).normal(0, 300, 3 * RATE).astype(np.int16)
    return [
        said,
        np.concatenate([noise, said, noise[:777]]),
        np.resize(said, 70 * RATE + 333),
        said[: 2 * RATE + 50],
    ]


def segments(detector: FsmnVadModel, pcm: Pcm, seed: int) -> list[SpeechSegment]:
    """Segments of a recording submitted in irregular blocks."""
    rng = random.Random(seed)
    stream = Stream(seed, detector.open(), keeps_samples=True)
    found: list[SpeechSegment] = []
    at, final = 0, False
    while not final:
        size = rng.choice([1, 159, 400, 16_000, rng.randint(0, 200_000)])
        final = at + size >= len(pcm) and rng.random() < 0.5
        piece = stream.chunk((pcm[at : at + size],), final=final)
        found += stream.accept(piece, detector.accept([piece])[0], 0.0, 0.0)
        at += piece.samples
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_segment_has_the_frames_of_its_samples(detector: FsmnVadModel, seed: int) -> None:
    import torch

    from dropscribe.engine.layers.fbank import SHIFT_SAMPLES, LogMel, frames_of, joined

    log_mel = LogMel(torch.device("cpu"))
    for pcm in recordings():
        found = segments(detector, pcm, seed)
        assert found
        for segment in found:
            assert segment.log_mel is not None
            assert segment.pcm is not None
            assert len(segment.pcm) == segment.samples
            starts = torch.arange(frames_of(len(segment.pcm))) * SHIFT_SAMPLES
            expected = log_mel(torch.from_numpy(segment.pcm.copy()), starts)
            torch.testing.assert_close(joined(segment.log_mel), expected, rtol=1e-6, atol=1e-5)


def test_frames_no_region_can_need_are_discarded(detector: FsmnVadModel) -> None:
    """Ten minutes of silence, then speech, a second at a time."""
    vad = detector.open()
    said = sample()[: 3 * RATE]
    quiet = np.zeros(RATE, np.int16)
    for _ in range(600):
        vad.accept(quiet, final=False)
    assert held_seconds(vad) < 3.0
    vad.accept(said, final=False)
    vad.accept(quiet, final=True)
    assert held_seconds(vad) == 0.0


def held_seconds(vad: Any) -> float:
    return sum(len(frames) for _, frames in vad.held._chunks) / 100.0


class FromSamples:
    """A recogniser that takes samples, not frames."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        assert all(s.log_mel is not None for s in segments)
        return self._recogniser([s._replace(log_mel=None) for s in segments])


class EveryOther(FromSamples):
    """A recogniser that gets frames of some segments of a batch and samples of the others."""

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return self._recogniser([s._replace(log_mel=None) if i % 2 else s for i, s in enumerate(segments)])


def recognised(detector: FsmnVadModel, recogniser: Recogniser) -> dict[tuple[int, int], SegmentDone]:
    """Run all recordings through the scheduler, block by block; returned blocks are filled with noise at once."""
    pcms = recordings()
    arena = np.concatenate(pcms)
    noise = np.random.default_rng(5).integers(-9_000, 9_000, BLOCK, np.int16)
    blocks: dict[int, PcmBlock] = {}
    begins = np.cumsum([0, *map(len, pcms)]).tolist()
    for at in range(0, max(map(len, pcms)), BLOCK):
        for i, pcm in enumerate(pcms):
            if at < len(pcm):
                count = min(BLOCK, len(pcm) - at)
                offset = begins[i] + at
                blocks[offset] = PcmBlock(i, offset, count, final=at + count == len(pcm))
    events: list[Any] = []

    def send(report: Report) -> None:
        for event in report.events:
            if isinstance(event, BlockFreed):
                given = blocks.pop(event.offset)
                arena[given.offset : given.offset + given.samples] = noise[: given.samples]
            events.append(event)

    batcher: Batcher[SpeechSegment] = Batcher(60.0, 1.0)
    loop = Scheduler(
        detector,
        recogniser,
        batcher,
        read=lambda b: arena[b.offset : b.offset + b.samples],
        send=send,
        clock=lambda: 0.0,
    )
    inbox = Script(*blocks.values())
    for _ in range(300):
        loop.turn(inbox)
        if sum(isinstance(e, StreamDone) for e in events) == len(pcms):
            break
    assert not blocks, "all were given back, each once"
    return {(e.stream, e.index): e for e in events if isinstance(e, SegmentDone)}


@pytest.mark.parametrize("other", [FromSamples, EveryOther])
def test_words_and_their_places_are_those_of_the_samples(
    detector: FsmnVadModel, recogniser: Recogniser, other: type[FromSamples]
) -> None:
    shared = recognised(detector, recogniser)
    own = recognised(detector, other(recogniser))
    assert len(shared) > 10
    assert {k: (e.text, e.tokens) for k, e in shared.items()} == {
        k: (e.text, e.tokens) for k, e in own.items()
    }
    assert any(e.tokens for e in shared.values())


class Curious:
    """A recogniser that takes frames and records its input."""

    takes_frames = True

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self.shown: list[SpeechSegment] = []

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        self.shown += segments
        return self._recogniser(segments)


def test_samples_are_not_kept_for_one_that_takes_frames(
    detector: FsmnVadModel, recogniser: Recogniser
) -> None:
    curious = Curious(recogniser)
    assert len(recognised(detector, curious)) == len(curious.shown)
    assert [s.pcm for s in curious.shown] == [None] * len(curious.shown)
    assert all(s.samples > 0 for s in curious.shown)


def test_every_frame_is_computed_once(
    detector: FsmnVadModel, recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dropscribe.engine.layers.fbank import LogMel, frames_of

    computed: list[int] = []
    compute = LogMel.__call__

    def counted(self: LogMel, pcm: Any, starts: Any) -> Any:
        computed.append(len(starts))
        return compute(self, pcm, starts)

    monkeypatch.setattr(LogMel, "__call__", counted)
    recognised(detector, recogniser)
    # A VAD pass recomputes the few frames that were only context in the previous one.
    once = sum(frames_of(len(pcm)) for pcm in recordings())
    assert once <= sum(computed) <= once + 10 * len(recordings()) * len(computed)
