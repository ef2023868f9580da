"""Tokens of a batch as a model emits them: arrays over all segments, because a GPU emits tens of thousands a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.models.text.spacing import Columns

_LIMITS = np.iinfo(np.intc)


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """Starts and ends of the tokens of a batch, ms in the recording, (tokens,) int64."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    unplaced: frozenset[int] = frozenset()  #: numbers of the segments of which they are not known

    def columns(self, first: int, last: int) -> Columns:
        """Starts and ends of the tokens from `first` to `last`, exclusive."""
        return self.starts[first:last].tolist(), self.ends[first:last].tolist()

    def packed(self) -> tuple[bytes, bytes] | None:
        """Both columns as `packed_tokens` takes them; None if one has a time of more than 32 bits."""
        columns = np.stack((self.starts, self.ends))
        if columns.min(initial=0) < _LIMITS.min or columns.max(initial=0) > _LIMITS.max:
            return None
        starts, ends = columns.astype(np.intc)
        return starts.tobytes(), ends.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class DecodedTokens:
    """Tokens of the segments of a batch, one segment after another. None of them is special."""

    ids: NDArray[np.integer[Any]]  #: token numbers, (tokens,)
    bounds: list[int]  #: number of the first token of each segment, and at last the number of all
    confidence: bytes  #: of each token, see `Tokens`
    times: Times | None  #: None for a model without timestamps
