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

from dropscribe.engine.models.text.decoded import Times

#: Duration of an upsampled frame, seconds: a third of an LFR frame of 60 ms. In FunASR's order of operations, since
#: positions are truncated to whole milliseconds and so depend on the last bit.
FRAME_S = 10.0 * 6 / 1000 / 3
#: Offset of a token's start from its fire, frames.
SHIFT = -1.5
#: Longest token, frames.
LONGEST = 12
#: Longest rest of a segment that belongs to the last token, frames.
REST = 5


def times_of(
    fires: NDArray[np.integer[Any]],
    firsts: NDArray[np.integer[Any]],
    bounds: Sequence[int],
    frames: Sequence[int],
    begins_ms: Sequence[int],
) -> Times:
    """Starts and ends of all tokens of a batch, vectorised over it.

    fires: one frame per token, ascending within a segment; behind the tokens of a segment is the one at which the last
    of them ends. firsts: place of the first fire of each segment in `fires`; bounds: as of `DecodedTokens`; frames: length
    of each segment; begins_ms: its start in the recording. The times of a segment whose fires are after its end (all weights
    are zero) are not known.
    """
    until = np.array(bounds[1:], np.int64)
    counts = np.diff(until, prepend=0)
    places = np.arange(until[-1]) + np.repeat(firsts - until + counts, counts)
    starts = fires[places] + SHIFT
    ends = np.minimum(fires[places + 1] + SHIFT, starts + LONGEST)
    said = counts.nonzero()[0]
    first, last, whole = firsts[said], until[said] - 1, np.array(frames, np.float64)[said]
    end = fires[first + counts[said]] + SHIFT
    rest = np.where(whole - end > REST, (whole + end) * 0.5, whole)
    # A last token cut at its longest keeps its end: the rest after it is silence.
    ends[last] = np.where(end - starts[last] > LONGEST, ends[last], rest)
    origins = np.repeat(np.array(begins_ms, np.int64), counts)
    unplaced = frozenset(said[fires[first] >= whole].tolist())
    return Times(_ms(starts) + origins, _ms(ends) + origins, unplaced)


def _ms(frames: NDArray[np.float64]) -> NDArray[np.int64]:
    return (frames * FRAME_S * 1000).astype(np.int64)
