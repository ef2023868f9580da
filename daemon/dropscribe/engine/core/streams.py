"""One recording inside the engine: the samples still needed, and its counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from dropscribe.engine.core.interfaces import SAMPLES_PER_MS, Pcm, Region, SpeechSegment, Vad, VadChunk
from dropscribe.engine.protocol import PLAIN, SAMPLE_RATE_HZ, StreamDone, StreamOptions

NOTHING: Pcm = np.zeros(0, np.int16)


class Stream:
    """Turn blocks of samples into segments. Owned by the worker's thread.

    If segments need samples, only those that the open or the next region may include are kept, in the chunks in which
    they arrived. A segment within one chunk is a view, not a copy.
    """

    def __init__(
        self, number: int, vad: Vad, options: StreamOptions = PLAIN, *, keeps_samples: bool = True
    ) -> None:
        self.number = number
        self.options = options
        self._keeps_samples = keeps_samples
        self._vad = vad
        self._held: deque[Pcm] = deque()
        self._held_from = 0  #: number of the first kept sample
        self._samples = 0
        self._vad_s = 0.0
        self._speech_ms = 0
        self._found = 0
        self._unrecognised = 0  #: segments found but not recognised yet
        self._complete = False

    def chunk(self, parts: tuple[Pcm, ...], *, final: bool) -> VadChunk:
        """Next chunk for the detector; the caller must pass the detector's result to `accept`.

        The memory of `parts` may be reused after the detector's call: samples to be kept are copied here.
        """
        if self._keeps_samples:
            parts = (np.concatenate(parts),)
        return VadChunk(self._vad, parts, final)

    def accept(
        self, chunk: VadChunk, regions: Sequence[Region], seconds: float, now: float
    ) -> list[SpeechSegment]:
        """Segments completed by a chunk, from the detector's regions and its compute time in seconds."""
        if self._keeps_samples:
            self._held += chunk.parts
        self._samples += chunk.samples
        self._vad_s += seconds
        segments = []
        for region in regions:
            first = region.start_ms * SAMPLES_PER_MS
            last = min(region.end_ms * SAMPLES_PER_MS, self._samples)
            segments.append(
                SpeechSegment(
                    self.number,
                    self._found,
                    region.start_ms,
                    region.end_ms,
                    last - first,
                    now,
                    self.options,
                    self._between(first, last) if self._keeps_samples else None,
                    region.log_mel,
                )
            )
            self._found += 1
            self._speech_ms += region.end_ms - region.start_ms
        self._unrecognised += len(segments)
        self._complete = chunk.final
        self._forget_before(self._samples if chunk.final else self._vad.needed_from_ms * SAMPLES_PER_MS)
        return segments

    def _between(self, first: int, last: int) -> Pcm:
        parts = [pcm[max(0, first - at) : max(0, last - at)] for at, pcm in self._chunks()]
        filled = [part for part in parts if len(part)]
        return filled[0] if len(filled) == 1 else np.concatenate(filled or [NOTHING])

    def _chunks(self) -> Iterator[tuple[int, Pcm]]:
        """Kept chunks, each with the number of its first sample."""
        at = self._held_from
        for pcm in self._held:
            yield at, pcm
            at += len(pcm)

    def _forget_before(self, sample: int) -> None:
        while self._held and self._held_from + len(self._held[0]) <= sample:
            self._held_from += len(self._held.popleft())
        over = sample - self._held_from
        if self._held and over > len(self._held[0]) // 2:
            # A copy: a view would keep the whole chunk alive.
            self._held[0] = self._held[0][over:].copy()
            self._held_from += over

    def answered(self) -> None:
        """Note that one segment was recognised and delivered."""
        self._unrecognised -= 1

    def end(self) -> StreamDone | None:
        """Final event of the stream; None until all its segments are recognised."""
        if not self._complete or self._unrecognised:
            return None
        return StreamDone(
            self.number,
            self._found,
            self._samples * 1000 // SAMPLE_RATE_HZ,
            self._speech_ms,
            self._vad_s,
        )

    @property
    def open(self) -> bool:
        """True until the last block has arrived."""
        return not self._complete
