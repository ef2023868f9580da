"""Any PCM to 16 kHz mono int16, block by block, in memory that does not grow with the recording.

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

#: What every engine takes.
TARGET_HZ = 16_000

_FULL_SCALE = np.float32(32_768.0)

#: Samples are held to this many times full scale before anything is computed from them.
_LOUDEST = np.float32(256.0)


@dataclass(frozen=True, slots=True)
class Block:
    """Decoded audio as the file has it: shape (frames, channels), int16, or float32 at full scale 1.0."""

    samples: NDArray[np.int16] | NDArray[np.float32]
    rate_hz: int


class Normaliser:
    """Turns blocks of one recording into 16 kHz mono int16. Rate and channels may change on the way."""

    def __init__(self) -> None:
        self._rate_hz = 0
        self._resampler: Any = None
        self._downmixer = Downmixer()
        self._strange = 0
        self._loud = 0
        self._made = 0

    def push(self, block: Block) -> list[NDArray[np.int16]]:
        """Feed one block; returns arrays of shape (samples,) that are ready, possibly none."""
        made = [] if block.rate_hz == self._rate_hz else self._switch(block.rate_hz)
        raw = block.samples
        if self._resampler is None and raw.dtype == np.int16 and raw.shape[1] == 1:
            out = cast(NDArray[np.int16], raw[:, 0])
            self._made += len(out)
            return [*made, out] if len(out) else made
        mono = self._mono(raw)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono)
        return [*made, self._to_int16(mono)] if len(mono) else made

    def finish(self) -> list[NDArray[np.int16]]:
        """What the resampler still holds; call once, after the last block."""
        return self._switch(0)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd about the samples so far, in words for people."""
        found = []
        if self._strange:
            found.append(
                f"{self._strange} samples were not numbers (NaN or infinite) and were taken as silence"
            )
        if self._downmixer.turned:
            found.append(
                "its channels cancelled each other out (one is inverted); they were turned the same way"
            )
        # A resampler overshoots a little at full scale; only more than that can be heard.
        if self._loud > self._made // 100:
            share = 100 * self._loud / max(1, self._made)
            found.append(f"{share:.0f} % of the samples were louder than full scale and were clipped")
        return tuple(found)

    def _switch(self, rate_hz: int) -> list[NDArray[np.int16]]:
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
            self._strange += int(floats.size - np.count_nonzero(finite))
            floats = np.where(finite, floats, np.float32(0))
        # Huge values would overflow when they are added up; all of them end at full scale anyway.
        return self._downmixer.mix(np.clip(floats, -_LOUDEST, _LOUDEST))

    def _to_int16(self, mono: NDArray[np.float32]) -> NDArray[np.int16]:
        scaled = np.rint(mono * _FULL_SCALE)
        self._made += len(scaled)
        self._loud += int(np.count_nonzero((scaled > 32_768) | (scaled < -32_768)))
        pcm: NDArray[np.int16] = np.clip(scaled, -32_768, 32_767).astype(np.int16)
        return pcm
