"""From labelled windows to the speaker of each token (pure).

A token has the speaker of the window nearest to its own midpoint, so that speakers may change inside a segment. What is
left of a speaker for less than 0.7 s goes to the nearer neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Shortest turn of a speaker, ms; FunASR's smoothing has the same.
SHORTEST_TURN_MS = 700.0


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech, ms from the start of the recording, and its windows.

    Windows are given by their centres, in order, and the place of the first among all windows of the recording.
    """

    start_ms: float
    end_ms: float
    first: int
    centres_ms: tuple[float, ...]

    @property
    def borders_ms(self) -> tuple[float, ...]:
        """Start, the middles between neighbouring windows, end."""
        middles = ((one + other) / 2 for one, other in pairwise(self.centres_ms))
        return (self.start_ms, *middles, self.end_ms)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Speech that each window stands for."""
        return tuple((end - start) / 1000 for start, end in pairwise(self.borders_ms))


@dataclass(slots=True)
class _Turn:
    start_ms: float
    end_ms: float
    label: int


def speakers_of_tokens(
    spans: Sequence[Span], labels: NDArray[np.int64], midpoints_ms: Sequence[float]
) -> tuple[bytes, list[int]]:
    """Speaker number of each token, from 1 by first appearance, and the label of each number.

    `spans` in order of time, `labels` of all their windows, `midpoints_ms` of the tokens in order of their segments. All
    tokens have speaker 1, without a label, if there is no window at all.
    """
    turns = _smoothed(_turns(spans, labels))
    if not turns:
        return b"\1" * len(midpoints_ms), []
    starts = np.array([t.start_ms for t in turns])
    ends = np.array([t.end_ms for t in turns])
    by_turn = np.array([t.label for t in turns])
    at = np.asarray(midpoints_ms, np.float64)
    after = np.searchsorted(starts, at, side="right")
    before, following = np.maximum(after - 1, 0), np.minimum(after, len(turns) - 1)
    # A token outside all turns belongs to the nearer one.
    nearer = starts[following] - at < at - ends[before]
    of_tokens = by_turn[np.where((after == 0) | nearer, following, before)]
    numbers: dict[int, int] = {}
    found = bytes(numbers.setdefault(label, len(numbers) + 1) for label in of_tokens.tolist())
    return found, list(numbers)


def _turns(spans: Sequence[Span], labels: NDArray[np.int64]) -> list[_Turn]:
    """Consecutive windows of one label; the border of two windows is half way between their centres."""
    turns: list[_Turn] = []
    for span in spans:
        for place, (start, end) in enumerate(pairwise(span.borders_ms), start=span.first):
            label = int(labels[place])
            if turns and turns[-1].label == label and turns[-1].end_ms >= start:
                turns[-1].end_ms = end
            else:
                turns.append(_Turn(start, end, label))
    return turns


def _smoothed(turns: list[_Turn]) -> list[_Turn]:
    """Turns of which none but a lone one is shorter than `SHORTEST_TURN_MS`, unless its neighbours have its speaker."""
    for i, turn in enumerate(turns):
        if turn.end_ms - turn.start_ms >= SHORTEST_TURN_MS:
            continue
        before = turns[i - 1] if i > 0 else None
        after = turns[i + 1] if i + 1 < len(turns) else None
        if before is None or (
            after is not None and after.start_ms - turn.end_ms < turn.start_ms - before.end_ms
        ):
            neighbour = after
        else:
            neighbour = before
        if neighbour is not None:
            turn.label = neighbour.label
    return turns
