"""Frames of windows → speaker embeddings, batched on the device in a few fixed shapes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.core.interfaces import LogMelFrames, Pcm
from dropscribe.engine.layers.fbank import SHIFT_SAMPLES, LogMel, frames_of
from dropscribe.engine.layers.transfer import to_host
from dropscribe.engine.models.loading import device_faults
from dropscribe.engine.models.model_config import ModelConfig
from dropscribe.engine.models.speakers.network import MEL_BINS, CamPlusPlus, CamPlusPlusShape
from dropscribe.engine.models.speakers.windows import WINDOW
from dropscribe.engine.models.weights import read_weights
from dropscribe.errors import EngineError, OutOfDeviceMemoryError

#: Lengths of the network's input, frames. A shorter window is continued by its mirror image up to the next of them: such
#: embeddings are nearer to those of full windows than with silence in its place.
LENGTHS = (50, 75, 100, 125, WINDOW)
#: Values of an embedding, as records and the ledger have it.
EMBEDDING_SIZE = 192
#: Windows of a batch. On an H200 the network takes 19,300 windows/s in batches of 256 and 33,000 in batches of 1,024, of
#: which each takes 18 GB of memory.
CPU_BATCH = 16
CUDA_BATCH = 512
_SUPPORTED = {"feat_dim": MEL_BINS, "config_str": "batchnorm-relu", "output_level": "segment"}

Embeddings = NDArray[np.float16]  #: (windows, EMBEDDING_SIZE), of unit length


@dataclass(frozen=True, slots=True, eq=False)
class Launched:
    """Batches under way, each with the places of its windows."""

    windows: int
    parts: list[tuple[list[int], Tensor]]
    began: float  #: seconds
    first: torch.cuda.Event | None
    last: torch.cuda.Event | None

    @property
    def ready(self) -> bool:
        """True if the results are there."""
        return self.last is None or self.last.query()


class Embedder:
    """CAM++ on one device. Owned by the worker's thread.

    On CUDA it has a stream of its own: its results do not wait for the batches of the recogniser.
    """

    def __init__(self, network: CamPlusPlus, device: torch.device) -> None:
        self._network = network
        self._device = device
        self._log_mel = LogMel(device)
        self._on_gpu = device.type == "cuda"
        self._cuda_stream = torch.cuda.Stream(device) if self._on_gpu else None
        #: Largest batch, windows; halved when it does not fit the device's memory.
        self.batch = CUDA_BATCH if self._on_gpu else CPU_BATCH
        if self._on_gpu:
            torch.cuda.synchronize(device)

    @property
    def runs_ahead(self) -> bool:
        """True if `begin` returns before the results are there."""
        return self._on_gpu

    def frames(self, sound: Pcm | LogMelFrames) -> Tensor:
        """Log-mel frames of a segment, (n, 80), in memory of their own. Raises the errors of `device_faults`."""
        with device_faults(), torch.inference_mode(), self._own_stream():
            if not isinstance(sound, np.ndarray):
                for part in sound:
                    if self._cuda_stream is not None:
                        # Read by our stream after its owner may have released it.
                        part.record_stream(self._cuda_stream)
                return torch.cat(sound) if len(sound) > 1 else sound[0].clone()
            count = frames_of(len(sound))
            if count == 0:
                return torch.empty(0, MEL_BINS, device=self._device)
            pcm = torch.from_numpy(np.ascontiguousarray(sound)).to(self._device)
            return self._log_mel(pcm, torch.arange(count, device=self._device) * SHIFT_SAMPLES)

    def __call__(self, windows: Sequence[Tensor]) -> Embeddings:
        """Embeddings of windows of at most `WINDOW` frames, (n, 80) each."""
        return self.finish(self.begin(windows))[0]

    def begin(self, windows: Sequence[Tensor]) -> Launched:
        """Launch the network on windows, in smaller batches if the device's memory is full.

        Raises OutOfDeviceMemoryError if not even one window fits, EngineDiedError.
        """
        while True:
            try:
                return self._launch(windows)
            except OutOfDeviceMemoryError:
                if self.batch == 1:
                    raise
                self.batch //= 2

    def finish(self, launched: Launched) -> tuple[Embeddings, float]:
        """Embeddings in the order of the windows, and the seconds it took. Raises EngineDiedError."""
        found = np.empty((launched.windows, EMBEDDING_SIZE), np.float16)
        with device_faults():
            if launched.last is not None and launched.first is not None:
                launched.last.synchronize()
                seconds = launched.first.elapsed_time(launched.last) / 1000
            else:
                seconds = time.perf_counter() - launched.began
            for places, made in launched.parts:
                found[places] = made.numpy()[: len(places)]
        return found, seconds

    def warm_up(self) -> None:
        """Run every shape that is used on CUDA, so that the first recording is as fast as later ones."""
        if not self._on_gpu:
            return
        for length in LENGTHS:
            count = 1
            while count <= self.batch:
                self([torch.zeros(length, MEL_BINS, device=self._device)] * count)
                count *= 2

    def _launch(self, windows: Sequence[Tensor]) -> Launched:
        began = time.perf_counter()
        by_length: dict[int, list[int]] = {}
        for place, window in enumerate(windows):
            length = next(n for n in LENGTHS if n >= len(window))
            by_length.setdefault(length, []).append(place)
        parts: list[tuple[list[int], Tensor]] = []
        with device_faults(), torch.inference_mode(), self._own_stream():
            first = self._event()
            for length, places in sorted(by_length.items()):
                for at in range(0, len(places), self.batch):
                    chosen = places[at : at + self.batch]
                    frames = torch.stack([self._continued(windows[i], length) for i in chosen])
                    # A few sizes only: each compiles or selects kernels of its own.
                    frames = F.pad(frames, (0, 0, 0, 0, 0, _rounded(len(chosen)) - len(chosen)))
                    made = self._network(frames - frames.mean(dim=1, keepdim=True))
                    made = F.normalize(made, dim=1).half()
                    parts.append((chosen, to_host(made)[0] if self._on_gpu else made))
            last = self._event()
        return Launched(len(windows), parts, began, first, last)

    def _continued(self, window: Tensor, length: int) -> Tensor:
        """The window, continued by its mirror image to `length` frames."""
        count = len(window)
        if count == length:
            return window
        places = np.pad(np.arange(count), (0, length - count), mode="reflect" if count > 1 else "edge")
        return window[torch.from_numpy(places).to(self._device)]

    def _event(self) -> torch.cuda.Event | None:
        if not self._on_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _own_stream(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._cuda_stream is None else torch.cuda.stream(self._cuda_stream)


def load_embedder(config: ModelConfig, device: torch.device, *, half: bool) -> Embedder:
    """Load a CAM++ model. `half`: compute in fp16. Raises EngineError for other networks and damaged files."""
    options = config.options.get("model_conf", {})
    wrong = [name for name, value in _SUPPORTED.items() if options.get(name, value) != value]
    shape = CamPlusPlusShape(
        **{
            name: int(options[name])
            for name in ("embedding_size", "growth_rate", "bn_size", "init_channels")
            if name in options
        }
    )
    if shape.embedding_size != EMBEDDING_SIZE:
        wrong.append("embedding_size")
    if wrong:
        raise EngineError(
            f"its configuration has another {wrong[0]} than CAM++ of FunASR's hub: not supported",
            operation="load speaker model",
            path=config.directory,
            remedy="use cam++ or campplus-zh-en",
        )
    shapes = {name: (sizes, torch.float32) for name, sizes in shape.parameters().items()}
    weights = read_weights(config.weights, config.directory, shapes)
    return Embedder(CamPlusPlus(weights, shape, device, torch.float16 if half else torch.float32), device)


def _rounded(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()
