"""Decode a file through the media room and collect its samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dropscribe.media.decode import Limits, decode
from dropscribe.media.sources.source import SourceFacts
from dropscribe.transcript.types import MediaFacts


class Collector:
    """A sink that stores all samples."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.int16]] = []
        self.openings: list[tuple[SourceFacts, float | None]] = []

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        assert not self.parts
        self.openings.append((facts, declared_s))

    def write(self, pcm: NDArray[np.int16]) -> None:
        assert pcm.dtype == np.int16
        assert pcm.ndim == 1
        assert len(self.openings) == 1
        self.parts.append(np.array(pcm))

    @property
    def pcm(self) -> NDArray[np.int16]:
        return np.concatenate(self.parts)


def run(
    path: Path, max_hours: float = 1.0, track: int | str = "auto"
) -> tuple[MediaFacts, NDArray[np.int16]]:
    sink = Collector()
    facts = decode(path, None, Limits(max_hours, track), sink)
    pcm = sink.pcm
    assert facts.duration_ms == round(len(pcm) / 16)
    return facts, pcm
