"""Decode a file through the media room and collect its samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dropscribe.media.decode import Limits, decode
from dropscribe.media.sources.source import SourceFacts
from dropscribe.transcript.types import MediaFacts, Part


class Collector:
    """A sink that stores all samples."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.int16]] = []
        self.openings: list[tuple[SourceFacts, float | None]] = []
        self.begun: list[tuple[Part, int, int]] = []

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        assert not self.parts
        self.openings.append((facts, declared_s))

    def part(self, part: Part, at: int, count: int) -> None:
        self.begun.append((part, at, count))

    def write(self, pcm: NDArray[np.int16]) -> None:
        assert pcm.dtype == np.int16
        assert pcm.ndim == 1
        assert len(self.openings) == 1
        self.parts.append(np.array(pcm))

    @property
    def pcm(self) -> NDArray[np.int16]:
        return np.concatenate(self.parts)


def run(
    path: Path, max_hours: float = 1.0, track: int | str = "auto", channels: str = "mixed"
) -> tuple[MediaFacts, NDArray[np.int16]]:
    sink = Collector()
    facts = decode(path, None, Limits(max_hours, track, channels), sink)
    pcm = sink.pcm
    assert facts.duration_ms == round(len(pcm) / 16)
    return facts, pcm


def run_apart(
    path: Path, *, track: int | str = "auto", channels: str = "mixed", max_hours: float = 1.0
) -> tuple[MediaFacts, list[NDArray[np.int16]]]:
    """Decode a recording whose tracks or channels may be transcribed apart; returns the samples of each part.

    They still have the silence that follows a part.
    """
    sink = Collector()
    facts = decode(path, None, Limits(max_hours, track, channels), sink)
    assert facts.parts == tuple(part for part, _, _ in sink.begun)
    starts = [part.start_ms * 16 for part in facts.parts] or [0]
    ends = [*starts[1:], len(sink.pcm)]
    return facts, [sink.pcm[start:end] for start, end in zip(starts, ends, strict=True)]
