"""Convert the frames at which tokens start to spans in milliseconds. Pure.

The rules are those of FunASR's `ts_prediction_lfr6_standard`: a token starts 1.5 frames before its fire; a token of
more than 12 frames is cut; the rest of the segment after the last fire is divided between the last token and silence,
or belongs to the token if it is short.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.models.text.spacing import Columns

#: Duration of an upsampled frame, seconds: a third of an LFR frame of 60 ms. In FunASR's order of operations, since
#: positions are truncated to whole milliseconds and so depend on the last bit.
FRAME_S = 10.0 * 6 / 1000 / 3
#: Offset of a token's start from its fire, frames.
SHIFT = -1.5
#: Longest token, frames.
LONGEST = 12
#: Longest rest of a segment that belongs to the last token, frames.
REST = 5


def spans_of(
    fires: Sequence[NDArray[np.integer[Any]] | None], frames: Sequence[int], begins_ms: Sequence[int]
) -> list[Columns | None]:
    """Token spans of each segment of a batch, ms in the recording; vectorised over the batch.

    fires: for each segment one frame per token, ascending, and the one at which the last token ends; frames: length of
    each segment; begins_ms: its start in the recording. The result is None for a segment without tokens, and for one
    whose fires are None or after its end (all weights are zero).
    """
    spans: list[Columns | None] = [None] * len(fires)
    placed = [
        (i, own) for i, own in enumerate(fires) if own is not None and len(own) > 1 and own[0] < frames[i]
    ]
    if not placed:
        return spans
    counts = np.array([len(own) for _, own in placed])
    until = np.cumsum(counts)
    at = np.concatenate([own for _, own in placed]) + SHIFT
    # The values between the last fire of a segment and the first of the next belong to no token and are not used.
    starts, ends = at[:-1], at[1:].copy()
    cut = ends - starts > LONGEST
    ends[cut] = starts[cut] + LONGEST
    last, end = until - 2, at[until - 1]
    whole = np.array([frames[i] for i, _ in placed], np.float64)
    rest = np.where(whole - end > REST, (whole + end) * 0.5, whole)
    # A last token cut at its longest keeps its end: the rest after it is silence.
    ends[last] = np.where(cut[last], ends[last], rest)
    offsets = np.repeat(np.array([begins_ms[i] for i, _ in placed]), counts)[:-1]
    starts_ms, ends_ms = (tuple((_ms(column) + offsets).tolist()) for column in (starts, ends))
    for (i, _), a, b in zip(placed, (until - counts).tolist(), until.tolist(), strict=True):
        spans[i] = starts_ms[a : b - 1], ends_ms[a : b - 1]
    return spans


def _ms(frames: NDArray[np.float64]) -> NDArray[np.int64]:
    return (frames * FRAME_S * 1000).astype(np.int64)
