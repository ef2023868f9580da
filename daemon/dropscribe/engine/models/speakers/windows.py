"""Windows of speech that get an embedding each: their places in a segment (pure).

Windows of 1.5 s follow each other. Between two of them whose embeddings differ, as at a change of speaker, another one is
placed. That costs about three quarters of a grid of 0.75 s, and confuses speakers as rarely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Frames of a window, 1.5 s, and from one window to the next; frames of 10 ms.
WINDOW = 148
STEP = 150
#: Rest of a segment, frames, that gets a window of its own, moved back to end with the segment.
LEAST_REST = 50
#: Distance of two windows, frames, from which on another one fits between them.
LEAST_GAP = 75
#: Cosine of two neighbouring windows below which another one is placed between them.
DIFFERENT = 0.6
#: Shortest segment, frames, that gets a window; the speaker of a shorter one is that of its neighbour.
SHORTEST = 40
FRAME_MS = 10


def first_windows(frames: int) -> list[int]:
    """First frames of the windows of a segment; a segment shorter than a window has one, of all its frames."""
    if frames < SHORTEST:
        return []
    starts = list(range(0, max(1, frames - WINDOW + 1), STEP))
    rest = frames - (starts[-1] + WINDOW)
    return [*starts, frames - WINDOW] if rest >= LEAST_REST else starts


def windows_between(
    starts: NDArray[np.int64], segments: NDArray[np.int64], embeddings: NDArray[np.float16]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First frames and segments of the windows between neighbours in one segment whose embeddings differ.

    `starts`, `segments`: of all windows, in order of segment and time.
    """
    if len(starts) < 2:
        return starts[:0], segments[:0]
    one, other = embeddings[:-1].astype(np.float32), embeddings[1:].astype(np.float32)
    cosine = np.einsum("ij,ij->i", one, other)
    apart = (segments[:-1] == segments[1:]) & (cosine < DIFFERENT) & (np.diff(starts) >= LEAST_GAP)
    return (starts[:-1][apart] + starts[1:][apart]) // 2, segments[:-1][apart]


def centres_ms(starts: NDArray[np.int64], frames: int) -> NDArray[np.float64]:
    """Centres of windows that start at these frames of a segment of `frames` frames, ms from the segment's start."""
    centres = starts.astype(np.float64)
    centres += min(frames, WINDOW) / 2
    centres *= FRAME_MS
    return centres
