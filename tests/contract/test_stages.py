"""Contracts of `dropscribe.engine.core.interfaces`, for the null models, the bundled ones and the test doubles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import (
    Hypothesis,
    Pcm,
    Pipelined,
    PipelinedVad,
    Recogniser,
    Region,
    SpeechSegment,
    VadChunk,
    VadModel,
    WholeBatch,
    WholeVadPass,
)
from dropscribe.engine.models import store
from dropscribe.engine.models.null import NullRecogniser, NullVadModel
from tests.support.daemon_process import wait_until
from tests.support.engines import FUNASR_WARNS, on_cpu, sample, segment
from tests.support.stages import Ahead, Deep, FailsOn, Fragile, Listening

pytestmark = FUNASR_WARNS


def paraformer() -> Recogniser:
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser  # noqa: PLC0415 - imports torch

    return ParaformerRecogniser(on_cpu(store.BUNDLED / "paraformer-mini"))


def fsmn() -> VadModel:
    from dropscribe.engine.vad.model import FsmnVadModel  # noqa: PLC0415 - imports torch

    return FsmnVadModel(on_cpu(store.BUNDLED / "vad-mini"))


RECOGNISERS: dict[str, Callable[[], Recogniser]] = {
    "null": NullRecogniser,
    "paraformer-mini": paraformer,
    "never failing": lambda: FailsOn(ValueError(), lambda _: False),
    "listening": Listening,
    "deep": Deep,
}
DETECTORS: dict[str, Callable[[], VadModel]] = {
    "null": NullVadModel,
    "vad-mini": fsmn,
    "never failing": lambda: Fragile(ValueError()),
    "ahead": Ahead,
}


@pytest.fixture(scope="module", params=RECOGNISERS)
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    return RECOGNISERS[request.param]()


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> VadModel:
    return DETECTORS[request.param]()


def speech() -> list[SpeechSegment]:
    pcm = sample()
    lengths = (5.0, 2.0, 9.0)
    return [segment(pcm[: int(s * 16_000)], stream=i, index=i + 1) for i, s in enumerate(lengths)]


def by_segment(said: Sequence[Hypothesis]) -> dict[tuple[int, int], Hypothesis]:
    found = {(h.stream, h.index): h for h in said}
    assert len(found) == len(said), "one hypothesis per segment"
    return found


def test_each_segment_gets_one_hypothesis_in_any_batch(recogniser: Recogniser) -> None:
    segments = speech()
    together = by_segment(recogniser(segments))
    assert together.keys() == {(s.stream, s.index) for s in segments}
    alone = {key: h for s in segments for key, h in by_segment(recogniser([s])).items()}
    assert {key: h.text for key, h in together.items()} == {key: h.text for key, h in alone.items()}


def test_positions_of_tokens_are_those_of_the_recording(recogniser: Recogniser) -> None:
    (one,) = recogniser([segment(sample()[: 5 * 16_000], start_ms=60_000)])
    assert all(60_000 <= ms <= 65_100 for ms in (*one.tokens.starts_ms, *one.tokens.ends_ms))


def test_batches_under_way_finish_in_order_with_the_results_of_single_batches(recogniser: Recogniser) -> None:
    pipeline = recogniser if isinstance(recogniser, Pipelined) else WholeBatch(recogniser)
    batches = [[s] for s in speech()][: pipeline.depth]
    handles = [pipeline.begin(batch) for batch in batches]
    for batch, handle in zip(batches, handles, strict=True):
        wait_until(lambda handle=handle: pipeline.ready(handle), "a batch that is asked for gets ready")  # type: ignore[misc]
        assert by_segment(pipeline.finish(handle)).keys() == {(s.stream, s.index) for s in batch}


def streams() -> list[Pcm]:
    """Distinct batches, so that a mix-up is detected."""
    pcm = sample()
    minutes = np.resize(pcm, 61 * 16_000)
    return [minutes, pcm[: 9 * 16_000], np.concatenate([np.zeros(32_000, np.int16), pcm])]


def regions(detector: VadModel, pcm: Pcm, block: int) -> list[Region]:
    vad = detector.open()
    found: list[Region] = []
    for at in range(0, len(pcm), block):
        found += detector.accept([VadChunk(vad, (pcm[at : at + block],), final=at + block >= len(pcm))])[0]
    return found


def spans(found: Sequence[Region]) -> list[tuple[int, int]]:
    return [(r.start_ms, r.end_ms) for r in found]


def test_regions_are_in_order_and_within_the_recording_for_any_block_size(detector: VadModel) -> None:
    for pcm in streams():
        whole = spans(regions(detector, pcm, len(pcm)))
        assert whole
        assert spans(regions(detector, pcm, 163_840)) == whole
        assert spans(regions(detector, pcm, 7_919)) == whole
        edges = [ms for span in whole for ms in span]
        assert edges == sorted(edges)
        assert edges[-1] <= len(pcm) / 16 + 1


def test_a_stream_gets_the_same_regions_in_any_call(detector: VadModel) -> None:
    pcms = streams()
    vads = [detector.open() for _ in pcms]
    found = detector.accept([VadChunk(v, (p,), final=True) for v, p in zip(vads, pcms, strict=True)])
    assert [spans(f) for f in found] == [spans(regions(detector, p, len(p))) for p in pcms]


def test_no_region_begins_before_the_earliest_needed_sample(detector: VadModel) -> None:
    pcm = streams()[0]
    vad, needed = detector.open(), 0
    for at in range(0, len(pcm), 32_000):
        (found,) = detector.accept([VadChunk(vad, (pcm[at : at + 32_000],), final=at + 32_000 >= len(pcm))])
        assert all(r.start_ms >= needed for r in found)
        assert vad.needed_from_ms >= needed
        needed = vad.needed_from_ms


def test_vad_passes_under_way_finish_in_order(detector: VadModel) -> None:
    runner: Any = detector if isinstance(detector, PipelinedVad) else WholeVadPass(detector)
    pcm = streams()[1]
    vads = [detector.open() for _ in range(2)]
    handles = [runner.begin([VadChunk(vad, (pcm,), final=True)]) for vad in vads]
    alone = spans(regions(detector, pcm, len(pcm)))
    wait_until(lambda: runner.ready(handles[0]), "a pass gets ready")
    assert [spans(found) for handle in handles for found in runner.finish(handle)] == [alone, alone]
