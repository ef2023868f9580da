"""Source of one channel of another source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dropscribe.media.normalise import Block
from dropscribe.media.sources.source import Source, SourceFacts
from dropscribe.media.timeline import Hole


class ChannelSource:
    """One channel of a recording.

    The number of channels may change in a file. No sample is lost then: the last channel has the mean of all further
    ones, and a channel that is missing is silent.
    """

    def __init__(self, source: Source, number: int, *, last: bool) -> None:
        """`number`: counted from 1. Takes over `source`."""
        self._source = source
        self._at = number - 1
        self._last = last

    @property
    def facts(self) -> SourceFacts:
        """Properties of the whole recording."""
        return self._source.facts

    @property
    def damage(self) -> int:
        """See `Source`."""
        return self._source.damage

    @property
    def end(self) -> int | None:
        """See `Source`."""
        return self._source.end

    def blocks(self) -> Iterator[Block | Hole]:
        """See `Source`; blocks have one channel, those of the last channel possibly several."""
        stop = None if self._last else self._at + 1
        for piece in self._source.blocks():
            if isinstance(piece, Hole):
                yield piece
                continue
            mine = piece.samples[:, self._at : stop]
            if mine.shape[1]:
                yield Block(mine.copy(), piece.rate_hz)
            else:
                yield Block(np.zeros((len(mine), 1), np.int16), piece.rate_hz)

    def close(self) -> None:
        """See `Source`."""
        self._source.close()
