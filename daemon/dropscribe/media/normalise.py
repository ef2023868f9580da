"""Convert any PCM to 16 kHz mono int16, block by block, in constant memory.

Arithmetic: channels are averaged in float32 at full scale 1.0 (`downmix.py`), resampled by soxr at quality HQ
(about 20 bits, linear phase, its delay removed), multiplied by 32768, rounded half to even and clipped to
[-32768, 32767]. 16 kHz mono int16 passes unchanged, bit for bit; so does any 16 kHz mono material whose
samples are multiples of 1/32768.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import soxr
from numpy.typing import NDArray

from dropscribe.media.downmix import Downmixer

#: Sample rate of all models, Hz.
TARGET_HZ = 16_000

_FULL_SCALE = np.float32(32_768.0)

#: Samples are clipped to this multiple of full scale before any arithmetic.
_MAX_AMPLITUDE = np.float32(256.0)


@dataclass(frozen=True, slots=True)
class Block:
    """Decoded audio before normalisation: shape (frames, channels), int16, or float32 at full scale 1.0."""

    samples: NDArray[np.int16] | NDArray[np.float32]
    rate_hz: int


class Normaliser:
    """Convert the blocks of one recording to 16 kHz mono int16. Rate and channels may change between blocks."""

    def __init__(self) -> None:
        self._rate_hz = 0
        self._resampler: Any = None
        self._downmixer = Downmixer()
        self._not_finite = 0
        self._clipped = 0
        self._samples_out = 0

    def push(self, block: Block) -> list[NDArray[np.int16]]:
        """Convert one block; returns arrays of shape (samples,) that are ready, possibly none."""
        made = [] if block.rate_hz == self._rate_hz else self._switch(block.rate_hz)
        raw = block.samples
        if self._resampler is None and raw.dtype == np.int16 and raw.shape[1] == 1:
            out = cast(NDArray[np.int16], raw[:, 0])
            self._samples_out += len(out)
            return [*made, out] if len(out) else made
        mono = self._mono(raw)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono)
        return [*made, self._to_int16(mono)] if len(mono) else made

    def finish(self) -> list[NDArray[np.int16]]:
        """Flush the resampler; call once, after the last block."""
        return self._switch(0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Defects of the samples so far, as messages for people."""
        found = []
        if self._not_finite:
            found.append(
                f"{self._not_finite} samples were not numbers (NaN or infinite) and were taken as silence"
            )
        if self._downmixer.turned:
            found.append(
                "its channels cancelled each other out (one is inverted); they were turned the same way"
            )
        # Resampling overshoots slightly at full scale, which is inaudible up to this share.
        if self._clipped > self._samples_out // 100:
            share = 100 * self._clipped / max(1, self._samples_out)
            found.append(f"{share:.0f} % of the samples were louder than full scale and were clipped")
        return tuple(found)

    def _switch(self, rate_hz: int) -> list[NDArray[np.int16]]:
        """Flush the resampler and set one up for the new input rate (0: none)."""
        last: list[NDArray[np.int16]] = []
        if self._resampler is not None:
            tail = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            if len(tail):
                last.append(self._to_int16(tail))
        self._rate_hz = rate_hz
        needed = rate_hz not in (0, TARGET_HZ)
        self._resampler = (
            soxr.ResampleStream(rate_hz, TARGET_HZ, 1, dtype="float32", quality="HQ") if needed else None
        )
        return last

    def _mono(self, raw: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.float32]:
        if raw.dtype == np.int16:
            return self._downmixer.mix(raw.astype(np.float32) / _FULL_SCALE)
        floats = raw.astype(np.float32, copy=False)
        finite = np.isfinite(floats)
        if not finite.all():
            self._not_finite += int(floats.size - np.count_nonzero(finite))
            floats = np.where(finite, floats, np.float32(0))
        # Huge values would overflow in sums; they are clipped to full scale later anyway.
        return self._downmixer.mix(np.clip(floats, -_MAX_AMPLITUDE, _MAX_AMPLITUDE))

    def _to_int16(self, mono: NDArray[np.float32]) -> NDArray[np.int16]:
        scaled = np.rint(mono * _FULL_SCALE)
        self._samples_out += len(scaled)
        self._clipped += int(np.count_nonzero((scaled > 32_768) | (scaled < -32_768)))
        pcm: NDArray[np.int16] = np.clip(scaled, -32_768, 32_767).astype(np.int16)
        return pcm
