"""On CUDA, too, the detector's frames serve the recogniser, while batches of many recordings are under way."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.models import store
from dropscribe.engine.protocol import PcmBlock, SegmentDone
from dropscribe.engine.wire import Report
from tests.support.engines import ON_GPU, Script, turn_until_done
from tests.support.vad_recordings import recordings

pytestmark = ON_GPU
#: Samples of a block: a recording's segments come from many looks.
BLOCK = 40_000


class FromSamples:
    """A pipeline that is shown no frames."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self.depth: int = pipeline.depth

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return self.finish(self.begin(segments))

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        assert all(s.log_mel is not None and s.log_mel[0].source.is_cuda for s in segments)
        return self._pipeline.begin([s._replace(log_mel=None) for s in segments])

    def ready(self, handle: Any) -> bool:
        return bool(self._pipeline.ready(handle))

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        said: Sequence[Hypothesis] = self._pipeline.finish(handle)
        return said


def recognised(detector: Any, pipeline: Any) -> dict[tuple[int, int], str]:
    pcms = recordings()
    reports: list[Report] = []
    batcher: Batcher[SpeechSegment] = Batcher(60.0, 0.0)
    loop = Scheduler(
        detector,
        pipeline,
        batcher,
        read=lambda b: pcms[b.stream][b.offset : b.offset + b.samples],
        send=reports.append,
        clock=iter(range(1_000_000)).__next__,
    )
    inbox = Script()
    for at in range(0, max(map(len, pcms)), BLOCK):
        for i, pcm in enumerate(pcms):
            if at < len(pcm):
                count = min(BLOCK, len(pcm) - at)
                inbox.messages.append(PcmBlock(i, at, count, final=at + count == len(pcm)))
        loop.turn(inbox)
    turn_until_done(loop, inbox, range(len(pcms)))
    done = [e for r in reports for e in r.events if isinstance(e, SegmentDone)]
    return {(e.stream, e.index): e.text for e in done}


def test_words_are_those_of_the_samples() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer.recogniser import PipelinedParaformer
    from dropscribe.engine.vad.model import FsmnVadModel

    device = torch.device("cuda:0")
    detector = FsmnVadModel(load(store.BUNDLED / "vad-mini", device, 1))
    pipeline = PipelinedParaformer(load(store.BUNDLED / "paraformer-mini", device, 1))
    expected = recognised(detector, FromSamples(pipeline))
    assert len(expected) > 24
    assert any(expected.values())
    assert recognised(detector, pipeline) == expected
