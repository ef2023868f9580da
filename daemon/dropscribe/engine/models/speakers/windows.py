"""Windows of speech that get an embedding each: their places in a segment (pure).

Windows of 1.5 s follow each other. Between two of them whose embeddings differ, as at a change of speaker, another one is
placed. That costs about three quarters of a grid of 0.75 s, and confuses speakers as rarely.
"""

from __future__ import annotations

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


def window_between(first: int, second: int, cosine: float) -> int | None:
    """First frame of the window between two neighbours; None if there is none."""
    if cosine >= DIFFERENT or second - first < LEAST_GAP:
        return None
    return (first + second) // 2


def centre_ms(start: int, frames: int) -> float:
    """Centre of a window that starts at frame `start` of its segment, of `frames` frames, ms from the segment's start."""
    return (start + min(frames, WINDOW) / 2) * FRAME_MS
