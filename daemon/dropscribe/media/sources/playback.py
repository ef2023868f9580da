"""Decode a recording from any position on, at the times of its transcript, as 16 kHz mono samples.

A transcript's times count from the start of the decoded audio, with silence where the file has none. An undamaged recording
is sought: its timestamps are these times. One with damage is decoded from its start, so that its times are right, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from dropscribe.errors import NoAudioError, RecordingChangedError, UnreadableMediaError
from dropscribe.files import FileSignature, open_recording
from dropscribe.media.decode import Limits, decode
from dropscribe.media.normalise import TARGET_HZ
from dropscribe.media.output import Output
from dropscribe.media.protocol import CHANNELS_MIXED, Excerpt
from dropscribe.media.sources.open_source import open_source
from dropscribe.media.sources.source import Seekable, SourceFacts
from dropscribe.transcript.types import Part

#: A position before this one is reached by decoding from the start, samples.
_NEAR = 20 * TARGET_HZ
#: Audio that is decoded ahead of the position and dropped, seconds: decoders and resamplers need some to settle.
_AHEAD_S = 1.0


class _EnoughError(Exception):
    """All samples that were asked for are written."""


class _Cut:
    """Sink that passes on the samples of an excerpt, as bytes."""

    def __init__(self, skip: int, count: int, write: Callable[[bytes], object]) -> None:
        self._skip = skip
        self._left = count
        self._write = write

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        """Nothing depends on these."""

    def part(self, part: Part, at: int, count: int) -> NoReturn:
        """Never called: channels and tracks are not told apart."""
        raise AssertionError(part, at, count)

    def write(self, pcm: NDArray[np.int16]) -> None:
        """See `Sink`. Raises _EnoughError at the end of the excerpt."""
        dropped = min(self._skip, len(pcm))
        self._skip -= dropped
        kept = pcm[dropped : dropped + self._left]
        if len(kept):
            self._write(kept.tobytes())
            self._left -= len(kept)
        if not self._left:
            raise _EnoughError


def play(excerpt: Excerpt, max_hours: float, write: Callable[[bytes], object]) -> None:
    """Write an excerpt as 16-bit little-endian samples, or less if the recording is shorter.

    Raises an error of `dropscribe.errors`, OSError, MemoryError.
    """
    if excerpt.from_start or excerpt.first < _NEAR or not _sought(excerpt, max_hours, write):
        limits = Limits(max_hours, excerpt.track, CHANNELS_MIXED)
        sink = _Cut(excerpt.first, excerpt.count, write)
        try:
            decode(excerpt.path, excerpt.signature, limits, sink, excerpt.folder)
        except _EnoughError:
            return


def _sought(excerpt: Excerpt, max_hours: float, write: Callable[[bytes], object]) -> bool:
    """Write the excerpt from its position on; False, with nothing written, if the position cannot be found."""
    fd = open_recording(excerpt.path, excerpt.folder)
    try:
        if FileSignature.of(os.fstat(fd)) != excerpt.signature:
            raise RecordingChangedError("the file was changed", operation="playing", path=excerpt.path)
        try:
            source = open_source(fd, excerpt.path, excerpt.signature.size, excerpt.track).source
        except (UnreadableMediaError, NoAudioError):
            return False
        try:
            if not isinstance(source, Seekable):
                return False
            reached = source.seek(max(0.0, excerpt.first / TARGET_HZ - _AHEAD_S))
            blocks = source.blocks()
            first = next(blocks, None)
            at_s = reached()
            if first is None or at_s is None or (skip := excerpt.first - round(at_s * TARGET_HZ)) < 0:
                return False
            out = Output(_Cut(skip, excerpt.count, write).write, max_hours)
            out.take([first])
            out.take(blocks)
            out.finish()
        except _EnoughError:
            return True
        except UnreadableMediaError:
            return False
        finally:
            source.close()
    finally:
        os.close(fd)
    return True
