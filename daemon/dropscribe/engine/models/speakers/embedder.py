"""Frames of windows → speaker embeddings, batched on the device in a few fixed shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.core.interfaces import Frames, LogMelFrames, Pcm
from dropscribe.engine.core.turns import launching
from dropscribe.engine.layers.fbank import (
    SHIFT_SAMPLES,
    LogMel,
    frames_in,
    frames_of,
    joined,
    sources_of,
    whole,
)
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
#: Most windows of a batch.
CPU_BATCH = 16
CUDA_BATCH = 512
#: On CUDA batches have 2ⁿ windows, at least this many: the launches of each size are recorded once.
LEAST_BATCH = 32
_SUPPORTED = {"feat_dim": MEL_BINS, "config_str": "batchnorm-relu", "output_level": "segment"}

Embeddings = NDArray[np.float16]  #: (windows, EMBEDDING_SIZE), of unit length
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of at most `WINDOW` frames."""

    frames: Tensor  #: (rows, 80), of all segments that the windows are in
    starts: Places  #: row of the first frame of each window
    lengths: Places  #: number of its frames

    def __len__(self) -> int:
        return len(self.starts)

    def among(self, places: Places, bounds: tuple[int, int]) -> Windows:
        """Those of `places` within `bounds`, in ascending order; the first window has the place `bounds[0]`."""
        first, last = np.searchsorted(places, bounds)
        own = places[first:last] - bounds[0]
        return Windows(self.frames, self.starts[own], self.lengths[own])


@dataclass(frozen=True, slots=True, eq=False)
class Launched:
    """Batches under way, each with the places of its windows."""

    windows: int
    parts: list[tuple[Places, Tensor]]
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
        #: By number of windows.
        self._recorded: dict[int, _Recorded] = {}
        if self._on_gpu:
            torch.cuda.synchronize(device)

    @property
    def runs_ahead(self) -> bool:
        """True if `begin` returns before the results are there."""
        return self._on_gpu

    def joined(self, sounds: Sequence[Pcm | LogMelFrames]) -> tuple[Tensor, list[int]]:
        """Log-mel frames of segments, one after another, (rows, 80), in memory of their own; number of each one's.

        Raises the errors of `device_faults`.
        """
        with device_faults(), torch.inference_mode(), launching(self._on_own_stream()):
            parts: list[Frames] = []
            for sound in sounds:
                parts += (whole(self._computed(sound)),) if isinstance(sound, np.ndarray) else sound
            if self._cuda_stream is not None:
                for source in sources_of(parts):
                    # Read by our stream after its owner may have released it.
                    source.record_stream(self._cuda_stream)
            frames = joined(parts) if parts else torch.empty(0, MEL_BINS, device=self._device)
            return frames, [frames_in(sound) for sound in sounds]

    def frames(self, sound: Pcm | LogMelFrames) -> Tensor:
        """Log-mel frames of one segment; see `joined`."""
        return self.joined([sound])[0]

    def _computed(self, pcm: Pcm) -> Tensor:
        count = frames_of(len(pcm))
        if count == 0:
            return torch.empty(0, MEL_BINS, device=self._device)
        samples = torch.from_numpy(np.ascontiguousarray(pcm)).to(self._device)
        return self._log_mel(samples, torch.arange(count, device=self._device) * SHIFT_SAMPLES)

    def __call__(self, windows: Sequence[Tensor]) -> Embeddings:
        """Embeddings of windows of at most `WINDOW` frames, (n, 80) each."""
        lengths = np.array([len(window) for window in windows], np.int64)
        with launching(self._on_own_stream()):
            frames = torch.cat(list(windows))
        return self.finish(self.begin([Windows(frames, np.cumsum(lengths) - lengths, lengths)]))[0]

    def begin(self, windows: Sequence[Windows]) -> Launched:
        """Launch the network on all these windows, in smaller batches if the device's memory is full.

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
        """Embeddings in the order of the windows given to `begin`, and the seconds it took. Raises EngineDiedError."""
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
            count = LEAST_BATCH
            while count <= self.batch:
                self([torch.zeros(length, MEL_BINS, device=self._device)] * count)
                count *= 2

    def record(self) -> None:
        """Record the launches of full batches on CUDA, after `warm_up`: optional. Raises RuntimeError if that fails."""
        if not self._on_gpu:
            return
        with torch.inference_mode(), launching(self._on_own_stream()):
            # Full windows only: there are few others. One batch at a time runs, so they share their memory.
            pool = torch.cuda.graph_pool_handle()
            count = self.batch
            while count >= LEAST_BATCH:
                self._recorded[count] = _Recorded(self._embedded, count, pool, self._device)
                count //= 2

    def _launch(self, windows: Sequence[Windows]) -> Launched:
        began = time.perf_counter()
        lengths = np.concatenate([one.lengths for one in windows])
        ends = np.cumsum([len(one) for one in windows]).tolist()
        given = [(one, (end - len(one), end)) for one, end in zip(windows, ends, strict=True)]
        classes = np.searchsorted(LENGTHS, lengths)
        parts: list[tuple[Places, Tensor]] = []
        with device_faults(), torch.inference_mode(), launching(self._on_own_stream()):
            first = self._event()
            for number in np.unique(classes).tolist():
                places = np.flatnonzero(classes == number)
                for chosen, size in self._batches(places):
                    made = self._run(
                        [one.among(chosen, bounds) for one, bounds in given], (size, LENGTHS[number])
                    )
                    parts.append((chosen, to_host(made)[0] if self._on_gpu else made))
            last = self._event()
        return Launched(len(lengths), parts, began, first, last)

    def _batches(self, places: Places) -> list[tuple[Places, int]]:
        """Places of the windows of each batch, and its size."""
        batches = []
        while len(places):
            size = min(len(places), self.batch)
            if self._on_gpu:
                # The largest power of two of which at least three quarters are used.
                size = min(self.batch, max(LEAST_BATCH, 1 << (len(places) * 4 // 3).bit_length() - 1))
            batches.append((places[:size], size))
            places = places[size:]
        return batches

    def _run(self, windows: Sequence[Windows], shape: tuple[int, int]) -> Tensor:
        """Embeddings of all these windows, as one batch of `shape`."""
        size, length = shape
        recorded = self._recorded.get(size) if length == WINDOW else None
        batch = torch.zeros(*shape, MEL_BINS, device=self._device) if recorded is None else recorded.frames
        at = 0
        for one in windows:
            if len(one):
                index = torch.from_numpy((one.starts[:, None] + _mirrored(one.lengths, length)).ravel())
                if self._on_gpu:
                    index = index.pin_memory().to(self._device, non_blocking=True)
                batch[at : at + len(one)] = one.frames[index].view(len(one), length, MEL_BINS)
                at += len(one)
        if recorded is None:
            return self._embedded(batch)
        recorded.graph.replay()
        # The next batch overwrites it.
        return recorded.made.clone()

    def _embedded(self, frames: Tensor) -> Tensor:
        made = self._network(frames - frames.mean(dim=1, keepdim=True))
        return F.normalize(made, dim=1).half()

    def _event(self) -> torch.cuda.Event | None:
        if not self._on_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _on_own_stream(self) -> AbstractContextManager[Any] | None:
        return None if self._cuda_stream is None else torch.cuda.stream(self._cuda_stream)


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
    if not half:
        return Embedder(CamPlusPlus(weights, shape, device, torch.float32), device)
    # Triton comes only with CUDA builds of torch.
    from dropscribe.engine.models.speakers.fused_network import FusedCamPlusPlus  # noqa: PLC0415

    return Embedder(FusedCamPlusPlus(weights, shape, device, torch.float16), device)


def _mirrored(lengths: Places, length: int) -> Places:
    """Frames of windows, each continued by its mirror image to `length` frames: (windows, length)."""
    period = np.maximum(2 * (lengths[:, None] - 1), 1)
    at = np.arange(length)[None, :] % period
    return np.minimum(at, period - at)


class _Recorded:
    """The launches of a batch of full windows, recorded as a CUDA graph."""

    def __init__(self, run: Callable[[Tensor], Tensor], count: int, pool: Any, device: torch.device) -> None:
        self.frames = torch.zeros(count, WINDOW, MEL_BINS, device=device)
        run(self.frames)
        self.graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(device)
        stream = torch.cuda.current_stream(device)
        with torch.cuda.graph(self.graph, pool, stream, capture_error_mode="thread_local"):
            self.made = run(self.frames)
