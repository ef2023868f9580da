"""CTC collapse: best token of every frame to tokens with their frames, on the device, for a whole batch.

Graves et al., "Connectionist Temporal Classification" (2006): repeated tokens are merged, blanks are removed. A token's
run of frames equals the result of FunASR's forced alignment. That alignment searches the best path that collapses to
the tokens, with the probability of blank set to 1 where blank is the best; the path of each frame's best token
collapses to them by definition, and no other path has a higher score in any frame. (If FunASR tokenises the text
differently from the model's output, it aligns those tokens; here spans belong to the model's own tokens.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Duration of a frame, and offset of its start before number · duration, ms.
FRAME_MS = 60
EARLY_MS = 30


@dataclass(frozen=True, slots=True)
class DecodedSegment:
    """Model output for one segment."""

    ids: list[int]  #: token numbers, with tags of language, emotion and sound event, without blanks
    spans: list[tuple[int, int]]  #: start and end of each token, ms from the start of the segment


def collapse(best: Tensor, ends: Tensor, blank: int) -> Tensor:
    """Find runs of equal tokens.

    best: (rows,) int64, best token of each frame of all segments, concatenated; ends: (batch + 1,) integers, cumulative
    lengths from 0. Returns (batch + 3 · rows,) int32 for `runs`: number of runs of each segment, then token, first
    frame and last frame + 1 (numbered over the batch) of every run. The last three are padded to `rows` entries, since
    the number of runs is not known without waiting for the device.
    """
    rows = best.numel()
    differs = best[1:] != best[:-1]
    begins = torch.ones(rows + 1, dtype=torch.bool, device=best.device)
    begins[1:-1] = differs
    begins.index_fill_(0, ends.long(), value=True)
    said = best != blank
    first, last = begins[:-1] & said, begins[1:] & said
    through = first.cumsum(0)
    # Frames that are not the first (or last) of a run are written to an extra column at the end.
    place = torch.arange(rows, device=best.device)
    table = best.new_zeros(3, rows + 1)
    at = torch.where(first, through - 1, rows)
    table[0].scatter_(0, at, best)
    table[1].scatter_(0, at, place)
    table[2].scatter_(0, torch.where(last, through - 1, rows), place + 1)
    before = torch.cat((through.new_zeros(1), through))[ends.long()]
    return torch.cat((before.diff(), table[:, :-1].flatten())).int()


def runs(collapsed: NDArray[np.int32], lengths: list[int], skip: int) -> list[DecodedSegment]:
    """Split the result of `collapse` by segment, on the host.

    lengths: rows of each segment; the first `skip` rows are not audio, and tokens in them have no duration.
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
    """Milliseconds, truncated as in FunASR: from seconds in double precision, whose last bit matters."""
    seconds = np.maximum((frames * FRAME_MS - EARLY_MS) / 1000, 0.0)
    return (seconds * 1000).astype(np.int64).tolist()
