"""One recording inside the engine: its samples, as long as they are needed, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daemon.engine.protocol import SAMPLE_RATE_HZ, StreamDone
from daemon.engine.stages import SAMPLES_PER_MS, Pcm, Piece, Region, SpeechSegment, Vad


class Stream:
    """Turns blocks of samples into segments. Owned by the worker's thread.

    It holds samples from the start of the region that is open, or the little that a region to come may
    reach back; a 6-hour recording never lies in it whole.
    """

    def __init__(self, number: int, vad: Vad, hotwords: tuple[str, ...] = ()) -> None:
        """`hotwords`: what to listen for in all of its segments, which share the one tuple."""
        self.number = number
        self._hotwords = hotwords
        self._vad = vad
        self._pcm: Pcm = np.zeros(0, np.int16)
        self._pcm_from = 0  #: sample number of `_pcm[0]`
        self._samples = 0
        self._vad_s = 0.0
        self._speech_ms = 0
        self._found = 0
        self._unanswered = 0
        self._complete = False

    @property
    def held_samples(self) -> int:
        """Samples kept for regions that are not certain yet."""
        return len(self._pcm)

    def piece(self, pcm: Pcm, *, final: bool) -> Piece:
        """What the detector is to be shown next. The caller hands its answer to `accept`."""
        return Piece(self._vad, pcm, final)

    def accept(
        self, piece: Piece, regions: Sequence[Region], seconds: float, now: float
    ) -> list[SpeechSegment]:
        """Segments that a piece completes, given what the detector, in so many seconds, found in it."""
        self._pcm = np.concatenate([self._pcm, piece.pcm])
        self._samples += len(piece.pcm)
        self._vad_s += seconds
        segments = []
        for region in regions:
            first = region.start_ms * SAMPLES_PER_MS - self._pcm_from
            last = min(region.end_ms * SAMPLES_PER_MS, self._samples) - self._pcm_from
            samples = self._pcm[first:last].copy()
            segments.append(
                SpeechSegment(
                    self.number, self._found, region.start_ms, region.end_ms, samples, now, self._hotwords
                )
            )
            self._found += 1
            self._speech_ms += region.end_ms - region.start_ms
        self._unanswered += len(segments)
        self._complete = piece.final
        keep = self._samples if piece.final else self._vad.needed_from_ms * SAMPLES_PER_MS
        drop = min(max(0, keep - self._pcm_from), len(self._pcm))
        self._pcm = self._pcm[drop:].copy()
        self._pcm_from += drop
        return segments

    def answered(self) -> None:
        """One of its segments was recognised and delivered."""
        self._unanswered -= 1

    def end(self) -> StreamDone | None:
        """What to say when all of it is done; None as long as it is not."""
        if not self._complete or self._unanswered:
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
        """Whether more blocks of it are to come."""
        return not self._complete
