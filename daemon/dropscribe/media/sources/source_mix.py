"""Source that mixes several audio tracks of a file into one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dropscribe.media.normalise import TARGET_HZ, Block, Normaliser
from dropscribe.media.sources.source import Source, SourceFacts
from dropscribe.media.timeline import MOST_S, Hole
from dropscribe.transcript.types import GAP

#: Samples mixed at once.
_CHUNK = 1 << 16


class MixSource:
    """Sum of sources, each of which reads one track of the same file, from the start of the file on."""

    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources
        tracks = tuple(
            replace(track, chosen=any(s.facts.tracks[at].chosen for s in sources))
            for at, track in enumerate(sources[0].facts.tracks)
        )
        self.facts: SourceFacts = replace(sources[0].facts, late_s=0.0, tracks=tracks)

    @property
    def damage(self) -> int:
        """Number of damaged places (packets) that were skipped."""
        return sum(source.damage for source in self._sources)

    @property
    def end(self) -> int | None:
        """Where the recording ends, by its last track."""
        ends = [source.end for source in self._sources]
        return max((end for end in ends if end is not None), default=None) if None not in ends else None

    def blocks(self) -> Iterator[Block | Hole]:
        """Mix all tracks; a track that ends before the others is silent from there on."""
        #: Position in the mix and hole, not yet passed on.
        holes: list[tuple[int, Hole]] = []
        lines = [_Line(source, holes, first=source is self._sources[0]) for source in self._sources]
        begin = 0
        while True:
            mixed = _sum([line.take(_CHUNK) for line in lines])
            holes.sort(key=lambda found: found[0])
            done = 0
            while holes and (holes[0][0] <= begin + len(mixed) or not len(mixed)):
                at, hole = holes.pop(0)
                if at - begin > done:
                    yield Block(mixed[done : at - begin], TARGET_HZ)
                    done = at - begin
                yield hole
            if not len(mixed):
                return
            if done < len(mixed):
                yield Block(mixed[done:], TARGET_HZ)
            begin += len(mixed)

    def close(self) -> None:
        """Release all decoders."""
        for source in self._sources:
            source.close()


def _sum(parts: list[NDArray[np.int16]]) -> NDArray[np.int16]:
    """Sum of tracks of shape (samples,), the shorter ones followed by silence; limited to 16 bits; shape (samples, 1)."""
    total = np.zeros(max(map(len, parts)), np.int32)
    for part in parts:
        total[: len(part)] += part
    return np.clip(total, -32_768, 32_767).astype(np.int16).reshape(-1, 1)


class _Line:
    """16 kHz samples of one track, with silence in its holes.

    Those in the timestamps are usually in all tracks, so only those of the `first` are added to `holes`.
    """

    def __init__(self, source: Source, holes: list[tuple[int, Hole]], *, first: bool) -> None:
        self._pieces = source.blocks()
        self._normaliser = Normaliser()
        self._holes = holes
        self._first = first
        self._ready: list[NDArray[np.int16]] = []
        self._count = 0  # samples in `_ready`
        self._position = 0  # samples so far
        self._silent = round(min(source.facts.late_s, MOST_S) * TARGET_HZ)
        self._ended = False

    def take(self, count: int) -> NDArray[np.int16]:
        """The next `count` samples; fewer at the end."""
        while self._count < count and not self._ended:
            self._read(count - self._count)
        joined = np.concatenate(self._ready) if self._ready else np.zeros(0, np.int16)
        self._ready = [joined[count:]]
        self._count = len(self._ready[0])
        return joined[:count]

    def _read(self, wanted: int) -> None:
        if self._silent:
            count = min(self._silent, wanted)
            self._silent -= count
            self._put(np.zeros(count, np.int16))
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._ended = True
            for pcm in self._normaliser.finish():
                self._put(pcm)
        elif isinstance(piece, Hole):
            if piece.kind and (self._first or piece.kind != GAP):
                self._holes.append((self._position, replace(piece, filled=True)))
            if piece.believable:
                self._silent = round(piece.seconds * TARGET_HZ)
        else:
            for pcm in self._normaliser.push(piece):
                self._put(pcm)

    def _put(self, pcm: NDArray[np.int16]) -> None:
        self._ready.append(pcm)
        self._count += len(pcm)
        self._position += len(pcm)
