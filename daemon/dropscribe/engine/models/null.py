"""Null models: no torch and hardly any time, to measure the cost of everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dropscribe.engine.core.interfaces import SAMPLES_PER_MS, Hypothesis, Pcm, Region, SpeechSegment, VadChunk
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.transcript.types import Tokens

#: Length of the regions into which a recording is divided, ms.
REGION_MS = 60_000
TEXT = "ø"


class NullVad:
    """Detector that treats all audio as speech. Owned by the worker's thread."""

    def __init__(self) -> None:
        self._samples = 0
        self._given_ms = 0

    @property
    def needed_from_ms(self) -> int:
        return self._given_ms

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        """A region for every full minute, and one for the rest."""
        self._samples += len(pcm)
        until_ms = self._samples // SAMPLES_PER_MS
        if final and self._samples % SAMPLES_PER_MS:
            until_ms += 1
        found = []
        while self._given_ms + REGION_MS <= until_ms:
            found.append(Region(self._given_ms, self._given_ms + REGION_MS))
            self._given_ms += REGION_MS
        if final and self._given_ms < until_ms:
            found.append(Region(self._given_ms, until_ms))
            self._given_ms = until_ms
        return found


class NullVadModel:
    def open(self) -> NullVad:
        """A detector for a new stream."""
        return NullVad()

    def accept(self, chunks: Sequence[VadChunk]) -> list[Sequence[Region]]:
        """See `dropscribe.engine.core.interfaces.VadModel`."""
        return [p.vad.accept(np.concatenate(p.parts), final=p.final) for p in chunks]


class NullRecogniser:
    """Recogniser that returns the same text for every segment."""

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """One token for each segment."""
        return [
            Hypothesis(s.stream, s.index, TEXT, Tokens(TEXT, (s.start_ms,), (s.end_ms,))) for s in segments
        ]


class NullStage:
    """A postprocessing stage of all streams that adds nothing; see `dropscribe.engine.core.interfaces.PostprocessingStage`."""

    name = "nothing"

    def wants(self, _: StreamOptions) -> bool:
        """True: it takes part in every stream."""
        return True

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Do nothing."""

    def finish(self, _: Sequence[int]) -> Mapping[int, Annotations]:
        """No annotations."""
        return {}

    def drop(self, stream: int) -> None:
        """Do nothing."""
