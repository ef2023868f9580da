"""Device errors and their handling: smaller batch, engine restart, or failure of one recording."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import SpeechSegment
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.models import store
from dropscribe.engine.models.null import NullVadModel
from dropscribe.engine.protocol import PcmBlock, SegmentDone, StreamDone, StreamFailed
from dropscribe.engine.wire import Report
from dropscribe.errors import DeviceFailedError, OutOfDeviceMemoryError
from tests.support.engines import FUNASR_WARNS, Script, on_cpu, sample, segment, turn_until_done

if TYPE_CHECKING:
    from dropscribe.engine.layers.fbank import Sound

pytestmark = FUNASR_WARNS


def raised_within(error: Exception) -> Exception:
    """Exception that results if `error` is raised during the use of a device."""
    from dropscribe.engine.models.loading import device_faults

    with pytest.raises((DeviceFailedError, OutOfDeviceMemoryError, type(error))) as caught, device_faults():
        raise error
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "CUDA driver error: unknown error",
        "Triton Error [CUDA]: unspecified launch failure",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    ],
)
def test_a_lost_device_is_recognised(text: str) -> None:
    assert isinstance(raised_within(RuntimeError(text)), DeviceFailedError)


def test_errors_with_a_torch_type_are_recognised_by_type() -> None:
    import torch

    lost = raised_within(torch.AcceleratorError("something went wrong"))
    assert isinstance(lost, DeviceFailedError)
    assert isinstance(raised_within(torch.OutOfMemoryError("full")), OutOfDeviceMemoryError)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to",
    ],
)
def test_a_full_device_may_take_a_smaller_batch(text: str) -> None:
    assert isinstance(raised_within(RuntimeError(text)), OutOfDeviceMemoryError)


def test_other_errors_count_as_faults_of_the_recording() -> None:
    own = RuntimeError("shape '[3]' is invalid for input of size 4")
    assert raised_within(own) is own


def test_a_device_lost_while_its_cache_is_emptied_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a broken CUDA context is raised by the next call of any kind."""
    import torch

    def broken() -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "empty_cache", broken)
    assert isinstance(raised_within(torch.OutOfMemoryError("full")), DeviceFailedError)


class Memory:
    """Simulated device memory of a failed step."""


@dataclass(eq=False)
class TightDevice:
    """A forward pass in three steps, like a GPU's; the second step fails for more than `room` segments."""

    whole: Callable[[Sequence[Sound], Sequence[Any]], Any]
    room: int
    error: type[Exception]
    refused: list[int] = field(default_factory=list)
    taken: list[weakref.ref[Memory]] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)
    alive: int = 0  #: how often memory of a failed step was still referenced at the next step

    def begin(self, sounds: Sequence[Sound], hotwords: Sequence[Any]) -> Any:
        self.alive += sum(one() is not None for one in self.taken)
        return list(sounds), list(hotwords)

    def decode(self, encoded: Any) -> Any:
        if len(encoded[0]) > self.room:
            memory = Memory()
            self.taken.append(weakref.ref(memory))
            self.refused.append(len(encoded[0]))
            raise self.error("CUDA out of memory. Tried to allocate")
        return encoded

    def ready(self, encoded: Any) -> bool:
        """False when asked for the first time."""
        known = id(encoded) in self.asked
        self.asked.add(id(encoded))
        return known

    def wait_for(self, batch: Any) -> None:
        """What the next step needs is there at once."""

    def collect(self, decoded: Any) -> Any:
        from dropscribe.engine.models.paraformer.forward import DecodedBatch

        return DecodedBatch.of(self.whole(*decoded))

    def __call__(self, sounds: Sequence[Sound], hotwords: Sequence[Any]) -> Any:
        return self.collect(self.decode(self.begin(sounds, hotwords))).segments()

    def encode_hotwords(self, words: Sequence[Sequence[int]]) -> Any:
        raise NotImplementedError


def pipelined(loaded: Any, device: TightDevice) -> Any:
    """A `PipelinedParaformer` on this device, without its constructor, which needs CUDA."""
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser, PipelinedParaformer

    recogniser = object.__new__(PipelinedParaformer)
    ParaformerRecogniser.__init__(recogniser, loaded, device)
    recogniser._packed = device  # type: ignore[assignment]
    recogniser._encoded_only = deque()
    recogniser._words = ThreadPoolExecutor(1)
    return recogniser


def test_the_last_batch_before_a_pause_holds_nothing_during_it() -> None:
    """The frames of its segments are in device memory."""
    from dropscribe.engine.models.paraformer.forward import PaddedForward

    loaded = on_cpu(store.BUNDLED / "paraformer-mini")
    whole = PaddedForward(loaded.module, loaded.frontend, loaded.device)
    recogniser = pipelined(loaded, TightDevice(whole, 9, RuntimeError))
    said = sample()[:40_000].copy()
    held = weakref.ref(said)
    handle = recogniser.begin([segment(said)])
    assert [h.stream for h in recogniser.finish(handle)] == [0]
    del said, handle
    # The thread releases its references a moment after the result is available.
    recogniser._words.shutdown()
    assert held() is None


def test_a_batch_that_stops_fitting_half_way_is_halved_without_affecting_others() -> None:
    """In a pipeline the error is raised in a step of the next batch, which is not its cause."""
    import torch

    from dropscribe.engine.models.paraformer.forward import PaddedForward

    loaded = on_cpu(store.BUNDLED / "paraformer-mini")
    tight = TightDevice(
        PaddedForward(loaded.module, loaded.frontend, loaded.device), 2, torch.OutOfMemoryError
    )
    recogniser = pipelined(loaded, tight)
    reports: list[Report] = []
    batcher: Batcher[SpeechSegment] = Batcher(4.0, 0.0)
    said = np.resize(np.arange(-500, 500, dtype=np.int16), 16_000)
    loop = Scheduler(
        NullVadModel(), recogniser, batcher, read=lambda _: said, send=reports.append, clock=lambda: 0.0
    )
    script = Script(*(PcmBlock(i, i, 16_000, final=True) for i in range(12)))
    turn_until_done(loop, script, range(12))
    events = [e for r in reports for e in r.events]
    assert tight.refused
    assert tight.alive == 0, "what a failed step had taken leaves no room for others"
    assert [e for e in events if isinstance(e, StreamFailed)] == []
    assert sorted(e.stream for e in events if isinstance(e, StreamDone)) == list(range(12))
    assert len([e for e in events if isinstance(e, SegmentDone)]) == 12
    assert batcher._budget_s == 2.0
