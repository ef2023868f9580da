"""From the best token of every frame to what was said: CTC's collapse, on the device, for a whole batch.

Graves et al., "Connectionist Temporal Classification" (2006): equal neighbours are one token, blanks are none. A token's run of
frames is also where FunASR's forced alignment puts it. That alignment looks for the best path that collapses to the tokens, over
scores in which a frame's blank counts as certain where it is the best; the path of each frame's best token collapses to
them by definition, and no frame of any other path can score higher. (Where FunASR cuts the text into other pieces than the model
gave, it aligns those; here a token stands where the model heard it.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: A frame lasts 60 ms and begins 30 ms before its number says.
FRAME_MS = 60
EARLY_MS = 30


@dataclass(frozen=True, slots=True)
class DecodedSegment:
    """What the model said of one segment."""

    ids: list[int]  #: token numbers, marks of language, emotion and sound among them, blanks left out
    spans: list[tuple[int, int]]  #: start and end of each, ms from the start of the segment


def collapse(best: Tensor, ends: Tensor, blank: int) -> Tensor:
    """Runs of equal tokens.

    best: (rows,) int64, the best token of each frame, recording after recording; ends: (batch + 1,) integers, where each
    recording's rows begin, and the number of rows. Returns (batch + 3 · rows,) int32, to be read by `runs`: runs of each
    recording, then token, first and last frame + 1 (counted over the whole batch) of every run, with unused places at the end
    of each: how many runs there are is not known without waiting for the device.
    """
    rows = best.numel()
    differs = best[1:] != best[:-1]
    begins = torch.ones(rows + 1, dtype=torch.bool, device=best.device)
    begins[1:-1] = differs
    begins.index_fill_(0, ends.long(), value=True)
    said = best != blank
    first, last = begins[:-1] & said, begins[1:] & said
    through = first.cumsum(0)
    # What is no run's first (or last) frame is written behind the end.
    place = torch.arange(rows, device=best.device)
    table = best.new_zeros(3, rows + 1)
    at = torch.where(first, through - 1, rows)
    table[0].scatter_(0, at, best)
    table[1].scatter_(0, at, place)
    table[2].scatter_(0, torch.where(last, through - 1, rows), place + 1)
    before = torch.cat((through.new_zeros(1), through))[ends.long()]
    return torch.cat((before.diff(), table[:, :-1].flatten())).int()


def runs(collapsed: NDArray[np.int32], lengths: list[int], skip: int) -> list[DecodedSegment]:
    """Take apart what `collapse` gave, on the host.

    lengths: rows of each recording, the first `skip` of which stand for no sound; what is said in them is given no time.
    """
    batch, rows = len(lengths), sum(lengths)
    until = np.cumsum(collapsed[:batch])
    ids, first, last = collapsed[batch:].reshape(3, rows)[:, : until[-1]]
    origin = np.repeat(np.cumsum(lengths) - lengths + skip, collapsed[:batch])
    spans = list(zip(_ms(first - origin), _ms(last - origin), strict=True))
    said = ids.tolist()
    return [
        DecodedSegment(said[a:b], spans[a:b])
        for a, b in zip((until - collapsed[:batch]).tolist(), until.tolist(), strict=True)
    ]


def _ms(frames: NDArray[np.int64]) -> list[int]:
    """Milliseconds, cut as FunASR cuts them: by way of seconds in double precision, whose last bit decides."""
    seconds = np.maximum((frames * FRAME_MS - EARLY_MS) / 1000, 0.0)
    return (seconds * 1000).astype(np.int64).tolist()
