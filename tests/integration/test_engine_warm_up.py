"""Batch size after warm-up: as large as fits beside the largest VAD pass.

Uses torch's meta device, on which the same memory is requested as on a GPU.
"""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dropscribe.engine import registry
from dropscribe.engine.core.interfaces import Hypothesis, Region, SpeechSegment, Vad, VadChunk
from dropscribe.engine.core.vad_schedule import ON_GPU
from dropscribe.engine.models.null import NullRecogniser, NullVad, NullVadModel
from dropscribe.errors import OutOfDeviceMemoryError
from tests.support.engines import FUNASR_WARNS

pytestmark = FUNASR_WARNS


class Device:
    """Detector and recogniser that share memory for this many seconds of audio."""

    depth = 3

    def __init__(self, room_s: float) -> None:
        self.room_s = room_s
        self.under_way: list[float] = []
        #: Samples of each recording in each VAD pass beside batches.
        self.passes: list[list[int]] = []

    def open(self) -> Vad:
        return NullVad()

    def accept(self, pieces: Sequence[VadChunk]) -> list[Sequence[Region]]:
        if self.under_way:
            self.passes.append([p.samples for p in pieces])
            self._fit(sum(p.samples for p in pieces) / 16_000)
        return NullVadModel().accept(pieces)

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return NullRecogniser()(segments)

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        audio_s = sum(s.audio_s for s in segments)
        self._fit(audio_s)
        self.under_way.append(audio_s)
        return segments

    def ready(self, handle: Any) -> bool:
        raise NotImplementedError

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        self.under_way.pop()
        return NullRecogniser()(handle)

    def _fit(self, look_s: float) -> None:
        if sum(self.under_way) + look_s > self.room_s:
            raise OutOfDeviceMemoryError("full", operation="look")


@pytest.mark.parametrize(("room_s", "batch_s"), [(20_000.0, 4_000.0), (9_000.0, 2_000.0), (2_500.0, 31.25)])
def test_batches_leave_memory_for_the_largest_vad_pass(room_s: float, batch_s: float) -> None:
    import torch

    device = Device(room_s)
    assert registry._warm_up(device, device, 4_000.0, torch.device("meta")) == batch_s
    assert all(look == [ON_GPU.of_one] * (ON_GPU.samples // ON_GPU.of_one) for look in device.passes)
    assert device.under_way == []
