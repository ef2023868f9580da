"""From the frames at which tokens start to spans in milliseconds. Pure.

The rules are those of FunASR's `ts_prediction_lfr6_standard`: a fire is a token's start, 1.5 frames early; a token that would last
more than 12 frames is cut there; what is left at the end of the segment is split between the last token and silence, or given
to it where it is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

#: Seconds of an upsampled frame: stacked frames of 60 ms, three times finer. Written as FunASR computes it: positions are
#: cut to whole milliseconds, so the last bit decides.
FRAME_S = 10.0 * 6 / 1000 / 3
#: Frames by which fires come late.
SHIFT = -1.5
#: Longest token, frames.
LONGEST = 12
#: A shorter rest at the end belongs to the last token, frames.
REST = 5

Span = tuple[int, int]


def spans_of(fires: Sequence[int], frames: int) -> list[Span]:
    """(start, end) of each token in ms from the start of the segment.

    fires: one frame per token, rising, and one more where the last token ends; frames: of the whole segment.
    """
    starts = [f + SHIFT for f in fires]
    spans = [
        [start, following if following - start <= LONGEST else start + LONGEST]
        for start, following in pairwise(starts)
    ]
    if not spans:
        return []
    # A last token cut at its longest keeps its end: the rest after it is silence.
    if starts[-1] - starts[-2] <= LONGEST:
        rest = frames - starts[-1]
        spans[-1][1] = (frames + starts[-1]) * 0.5 if rest > REST else float(frames)
    return [(int(a * FRAME_S * 1000), int(b * FRAME_S * 1000)) for a, b in spans]
