"""Log-mel filter banks, LFR stacking and CMVN on the device, batched.

Follows Kaldi's `compute-fbank-feats` (Povey et al., "The Kaldi Speech Recognition Toolkit", 2011) with the options
FunASR sets: 25 ms frames every 10 ms, mean removal, pre-emphasis 0.97, Hamming window, 512-point power spectrum,
80 mel bins from 20 Hz to 8 kHz, natural logarithm floored at the single precision epsilon, no dither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.core.interfaces import Frames, LogMelFrames, SpeechSegment
from dropscribe.engine.layers.memory import usable_bytes
from dropscribe.engine.layers.transfer import Upload, on_device

#: Frame length and frame shift, samples at 16 kHz.
FRAME_SAMPLES = 400
SHIFT_SAMPLES = 160
FFT_POINTS = 512
MEL_BINS = 80
#: Of a frame on its device, float32.
FRAME_BYTES = 4 * MEL_BINS
LOWEST_HZ = 20.0
HIGHEST_HZ = 8000.0
SAMPLE_RATE_HZ = 16_000
PRE_EMPHASIS = 0.97
#: Most frames per FFT call on a GPU: limits the memory of the spectra to some 340 MB.
CHUNK_FRAMES = 65_536
#: Frames per FFT call on a CPU: fits its caches; the allocator does not return memory.
CPU_CHUNK_FRAMES = 4_096
#: Multiple to which the number of frames is padded on CUDA.
CUDA_FRAMES = 512
#: Multiple for large numbers of frames (at least twice this).
MANY_FRAMES = 4_096


def frames_of(samples: int) -> int:
    """Number of complete frames in `samples` samples."""
    return 0 if samples < FRAME_SAMPLES else 1 + (samples - FRAME_SAMPLES) // SHIFT_SAMPLES


def chunk_frames(memory_bytes: int) -> int:
    """Frames per FFT call on a GPU with `memory_bytes` for this process: two per MiB, about 1 % of the memory."""
    return min(CHUNK_FRAMES, max(MANY_FRAMES, (memory_bytes >> 19) // MANY_FRAMES * MANY_FRAMES))


def mel_banks(device: torch.device) -> Tensor:
    """Triangular filters, (FFT_POINTS // 2, MEL_BINS) float32; Kaldi's `MelBanks`, HTK mel scale."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    low, high = mel(LOWEST_HZ), mel(HIGHEST_HZ)
    step = (high - low) / (MEL_BINS + 1)
    centre = low + step * torch.arange(1, MEL_BINS + 1, dtype=torch.float64)
    hz = torch.arange(FFT_POINTS // 2, dtype=torch.float64) * (SAMPLE_RATE_HZ / FFT_POINTS)
    bins = (1127.0 * torch.log1p(hz / 700.0))[:, None]
    rising = (bins - (centre - step)) / step
    falling = ((centre + step) - bins) / step
    return torch.minimum(rising, falling).clamp_(min=0.0).to(device=device, dtype=torch.float32)


class LogMel:
    """PCM → log-mel frames. Its window and filters are on one device."""

    def __init__(self, device: torch.device) -> None:
        n = torch.arange(FRAME_SAMPLES, dtype=torch.float64)
        hamming = 0.54 - 0.46 * torch.cos(2.0 * math.pi * n / (FRAME_SAMPLES - 1))
        self._window = hamming.to(device=device, dtype=torch.float32)
        self._mel = mel_banks(device)
        self._floor = torch.finfo(torch.float32).eps
        on_cpu = device.type == "cpu"
        self._chunk = CPU_CHUNK_FRAMES if on_cpu else chunk_frames(usable_bytes(device))

    def __call__(self, pcm: Tensor, starts: Tensor) -> Tensor:
        """Frames that begin at the sample positions `starts` of `pcm`.

        pcm: (samples,) int16 or float32 in int16 scale; starts: (n,) int64, each + 400 inside pcm.
        Returns (n, 80) float32.
        """
        count = starts.numel()
        if pcm.is_cuda:
            # cuFFT makes a plan for every distinct number of frames, so the number is padded; extra frames are cut off.
            starts = F.pad(starts, (0, -count % (CUDA_FRAMES if count < 2 * MANY_FRAMES else MANY_FRAMES)))
        out = torch.empty(starts.numel(), MEL_BINS, device=pcm.device)
        for first in range(0, starts.numel(), self._chunk):
            part = starts[first : first + self._chunk]
            power = self._power_by_kernels(pcm, part) if pcm.is_cuda else self._power(pcm, part)
            out[first : first + self._chunk] = (power @ self._mel).clamp_(min=self._floor).log_()
        return out[:count]

    def _power(self, pcm: Tensor, starts: Tensor) -> Tensor:
        """Power spectra of the frames that begin at `starts`, (n, FFT_POINTS // 2)."""
        frames = pcm[starts[:, None] + torch.arange(FRAME_SAMPLES)].float()
        frames = frames - frames.mean(dim=1, keepdim=True)
        previous = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
        frames = (frames - PRE_EMPHASIS * previous) * self._window
        spectrum = torch.fft.rfft(frames, n=FFT_POINTS)[:, : FFT_POINTS // 2]
        return spectrum.real.square() + spectrum.imag.square()

    def _power_by_kernels(self, pcm: Tensor, starts: Tensor) -> Tensor:
        """As `_power`, on CUDA, which has Triton."""
        from dropscribe.engine.layers import frame_kernels  # noqa: PLC0415

        frames = frame_kernels.windowed(pcm, starts, self._window, FFT_POINTS, PRE_EMPHASIS)
        return frame_kernels.power(torch.fft.rfft(frames), FFT_POINTS // 2)


def stacked_of(frames: int, skip: int) -> int:
    """Number of LFR frames of `frames` frames: ceil(frames / skip), regardless of the stack size."""
    return -(-frames // skip)


#: A segment as samples, or as log-mel frames already computed by the VAD.
Sound = NDArray[np.int16] | LogMelFrames


@dataclass(frozen=True, slots=True)
class Features:
    """Encoder input of a batch, packed: segment b has `rows[b]` consecutive rows."""

    packed: Tensor  #: (sum of rows, dim) float32
    rows: list[int]


class Frontend:
    """Samples or log-mel frames of a batch → stacked, normalised features on the model's device."""

    def __init__(self, cmvn: Tensor, *, stack: int, skip: int, device: torch.device) -> None:
        """cmvn: (2, stack · 80): each stacked frame is shifted by the first row, then scaled by the second."""
        self._cmvn = cmvn.to(device=device, dtype=torch.float32)
        self._stack = stack
        self._skip = skip
        self._device = device
        self._upload = Upload(device)
        self._log_mel = LogMel(device)

    def __call__(self, sounds: Sequence[Sound]) -> Features:
        """Compute the features. Each segment must have at least one frame of 400 samples."""
        frames = [frames_in(sound) for sound in sounds]
        rows = [stacked_of(n, self._skip) for n in frames]
        log_mel = self._log_mel_of(sounds)
        sizes = self._upload.values(_with_begins(frames, rows))
        stacked = log_mel[self._stacked(sizes, sum(rows))].flatten(1)
        return Features((stacked + self._cmvn[0]) * self._cmvn[1], rows)

    def _log_mel_of(self, sounds: Sequence[Sound]) -> Tensor:
        """Log-mel frames of all segments, concatenated; computed for those given as samples."""
        pcms = [sound for sound in sounds if isinstance(sound, np.ndarray)]
        if len(pcms) == len(sounds):
            return self._computed(pcms)
        computed = iter(self._computed(pcms).split([frames_of(len(p)) for p in pcms]) if pcms else ())
        parts: list[Frames] = []
        for sound in sounds:
            parts += (whole(next(computed)),) if isinstance(sound, np.ndarray) else sound
        return joined(parts)

    def _computed(self, pcms: Sequence[NDArray[np.int16]]) -> Tensor:
        samples = [len(p) for p in pcms]
        frames = [frames_of(n) for n in samples]
        pcm = self._upload.samples(pcms)
        sizes = self._upload.values(_with_begins(samples, frames))
        return self._log_mel(pcm, self._starts(sizes, sum(frames)))

    def _starts(self, sizes: Tensor, count: int) -> Tensor:
        """First sample of every frame of the batch."""
        _, frames, first_sample, first_frame = sizes
        owner = torch.repeat_interleave(frames, output_size=count)
        within = torch.arange(count, device=self._device) - first_frame[owner]
        return first_sample[owner] + within * SHIFT_SAMPLES

    def _stacked(self, sizes: Tensor, count: int) -> Tensor:
        """Indexes of the frames in each stacked frame, (count, stack).

        Stacked frame t consists of the `stack` frames from t·skip − (stack−1)/2 on; beyond the ends of a segment its
        first or last frame is repeated (FunASR's `apply_lfr`).
        """
        frames, rows, first_frame, first_row = sizes
        owner = torch.repeat_interleave(rows, output_size=count)
        t = torch.arange(count, device=self._device) - first_row[owner]
        near = torch.arange(self._stack, device=self._device) - (self._stack - 1) // 2
        place = (t[:, None] * self._skip + near).clamp(min=0)
        return first_frame[owner][:, None] + place.minimum((frames[owner] - 1)[:, None])


def room_for(seconds: float, device: torch.device) -> Tensor:
    """Reserve device memory for the log-mel frames of `seconds` of audio."""
    return torch.empty(int(seconds * SAMPLE_RATE_HZ / SHIFT_SAMPLES), MEL_BINS, device=device)


def sound_of(segment: SpeechSegment) -> Sound:
    """Input of the front end for a segment: the VAD's log-mel frames if it has them, else its samples."""
    if segment.log_mel is not None:
        return segment.log_mel
    assert segment.pcm is not None, "neither samples nor frames"
    return segment.pcm


def frames_in(sound: Sound) -> int:
    """Number of log-mel frames of a segment."""
    if isinstance(sound, np.ndarray):
        return frames_of(len(sound))
    # Nearly always of one part.
    return sum([last - first for _, first, last in sound])


def whole(frames: Tensor) -> Frames:
    """All of these frames, (n, 80) float32."""
    return Frames(frames, 0, len(frames))


def joined(parts: Sequence[Frames]) -> Tensor:
    """Frames one after another, (n, 80) float32: a copy, on their device. Their sources must be contiguous.

    A GPU must have copied them before a source is released, unless that waits for its current CUDA stream.
    """
    device = parts[0].source.device
    if device.type != "cuda":
        return torch.cat([part.cut() for part in parts])
    # By their addresses: a thousand regions come from a few sources, and to cut each out takes as long as to launch a layer.
    addresses = {id(source): source.data_ptr() for source in sources_of(parts)}
    first = np.array([part.first for part in parts], np.int64)
    places = np.empty((3, len(parts)), np.int64)
    places[0] = np.array([addresses[id(part.source)] for part in parts], np.int64) + first * FRAME_BYTES
    places[2] = (np.array([part.last for part in parts], np.int64) - first) * MEL_BINS
    places[1] = np.cumsum(places[2]) - places[2]
    # Imported here, since Triton comes only with CUDA builds of torch.
    from dropscribe.engine.layers.frame_kernels import gathered  # noqa: PLC0415

    total, longest = int(places[2].sum()), int(places[2].max())
    if not total:
        return torch.empty(0, MEL_BINS, device=device)
    return gathered(on_device(places, device), total, longest, torch.float32).view(-1, MEL_BINS)


def sources_of(parts: Sequence[Frames]) -> list[Tensor]:
    """The tensors in which frames lie, each once."""
    return list({id(part.source): part.source for part in parts}.values())


def _with_begins(*counts: Sequence[int]) -> NDArray[np.int64]:
    """Stack counts per segment, followed by their exclusive cumulative sums."""
    plan = np.array(counts, dtype=np.int64)
    return np.concatenate([plan, np.cumsum(plan, axis=1) - plan])
