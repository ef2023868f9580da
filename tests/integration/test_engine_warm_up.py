"""Batch size after warm-up: as large as fits beside the largest VAD pass.

Uses torch's meta device, on which the same memory is requested as on a GPU.
"""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from dropscribe.engine import registry
from dropscribe.engine.core.interfaces import Hypothesis, Region, SpeechSegment, Vad, VadChunk
from dropscribe.engine.core.vad_schedule import ON_GPU
from dropscribe.engine.models.null import NullRecogniser, NullVad, NullVadModel
from dropscribe.errors import OutOfDeviceMemoryError, release_traceback
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


class Handle:
    """A batch under way, which has memory."""

    error: Exception | None = None


class FullDevice(Device):
    """A device on which batches under way fail, too, once one has not fitted."""

    def __init__(self, room_s: float) -> None:
        super().__init__(room_s)
        self.handles: list[weakref.ref[Handle]] = []
        self._full = False

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        if not self.under_way:
            assert not any(handle() for handle in self.handles), "a batch before still has its memory"
            self._full = False
        handle = Handle()
        self.handles.append(weakref.ref(handle))
        super().begin(segments)
        return handle

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        super().finish(())
        if self._full:
            try:
                self._fit(math.inf)
            except OutOfDeviceMemoryError as e:
                # As the recogniser does it.
                handle.error = release_traceback(e)
            raise handle.error
        return ()

    def _fit(self, look_s: float) -> None:
        try:
            super()._fit(look_s)
        except OutOfDeviceMemoryError:
            self._full = True
            raise


@pytest.mark.parametrize(("room_s", "batch_s"), [(20_000.0, 4_000.0), (9_000.0, 2_000.0), (2_500.0, 31.25)])
def test_batches_leave_memory_for_the_largest_vad_pass(room_s: float, batch_s: float) -> None:
    import torch

    device = Device(room_s)
    assert registry._warm_up(device, device, 4_000.0, torch.device("meta")) == batch_s
    assert all(look == [ON_GPU.of_one] * (ON_GPU.samples // ON_GPU.of_one) for look in device.passes)
    assert device.under_way == []


def test_what_did_not_fit_has_no_memory_when_less_is_tried() -> None:
    import torch

    device = FullDevice(2_500.0)
    gc.collect()
    gc.disable()  # nobody waits for the collector
    try:
        assert registry._warm_up(device, device, 4_000.0, torch.device("meta")) == 31.25
    finally:
        gc.enable()
    assert len(device.handles) > 10
