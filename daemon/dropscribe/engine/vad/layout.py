"""Which samples, frames and rows a call of the detector works on, for each stream and for all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.core.interfaces import Pcm

#: Samples of a filter bank frame, and between two; those of `dropscribe.engine.layers.fbank`.
FRAME_SAMPLES = 400
SHIFT_SAMPLES = 160
#: Rows of one forward pass on a GPU, at least and at most. The most is about half a look, so that the device works on one pass
#: while the next is launched.
CUDA_ROWS = 16_384
MOST_CUDA_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class Splice:
    """A row is a frame with so many of its neighbours on either side; the first and last frame are repeated."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """How far a stream is: rows given out, and the samples that rows to come still need."""

    samples: Pcm  #: from the beginning of frame number `first_frame`
    first_frame: int
    rows: int  #: rows given out so far; row t is frame t with its neighbours
    frames: int  #: frames computed so far


START = Position(np.zeros(0, np.int16), 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one stream contributes to a call."""

    parts: tuple[Pcm, ...]  #: its samples, one part after another
    samples: int
    frames: int  #: frames that the samples make
    computed: int  #: of those, how many, the first, an earlier call has computed
    skipped: int  #: frames before that of the first new row
    rows: int  #: new rows
    after: Position


def step(at: Position, new: tuple[Pcm, ...], splice: Splice, *, final: bool) -> Step:
    """The rows that the samples in `new` complete. A row needs `splice.after` frames behind it, except at the end of the stream."""
    parts = (at.samples, *new)
    samples = sum(map(len, parts))
    frames = 0 if samples < FRAME_SAMPLES else 1 + (samples - FRAME_SAMPLES) // SHIFT_SAMPLES
    known = at.first_frame + frames
    # Without a frame there is no last one to repeat, also when rows are still owed: then there were none at all.
    until = known if final else max(at.rows, known - splice.after)
    first = max(0, until - splice.before)
    begin = (first - at.first_frame) * SHIFT_SAMPLES
    kept = _end_of(parts, samples - begin)
    rows = until - at.rows
    # Without a row there is nothing to compute, and the samples will be shown again.
    after = Position(kept, first, until, known if rows else at.frames)
    computed = at.frames - at.first_frame
    return Step(parts, samples, frames, computed, at.rows - at.first_frame, rows, after)


def _end_of(parts: tuple[Pcm, ...], count: int) -> Pcm:
    """The last so many samples: a copy, since whoever owns the parts gets them back."""
    found: list[Pcm] = []
    for part in reversed(parts):
        if count <= 0:
            break
        found.append(part[max(0, len(part) - count) :])
        count -= len(found[-1])
    return np.concatenate(found[::-1]) if found else START.samples


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All streams of a call that have new rows, one after another."""

    sizes: NDArray[
        np.int64
    ]  #: (6, streams): first sample, frames, first frame, rows with context, first row, skipped
    samples: int
    frames: int
    rows: int

    @property
    def streams(self) -> int:
        return len(self.sizes[0])

    def new_rows(self, stream: int, left: int) -> slice:
        """Where a stream's new rows lie, behind their context."""
        first = int(self.sizes[4, stream])
        return slice(first + left, first + int(self.sizes[3, stream]))


def plan(steps: Sequence[Step], left: int) -> Plan:
    """Lay out steps that have rows, each behind `left` rows of context."""
    samples = np.array([s.samples for s in steps], np.int64)
    frames = np.array([s.frames for s in steps], np.int64)
    rows = np.array([left + s.rows for s in steps], np.int64)
    skipped = np.array([s.skipped for s in steps], np.int64)
    sizes = np.stack([_before(samples), frames, _before(frames), rows, _before(rows), skipped])
    return Plan(sizes, int(samples.sum()), int(frames.sum()), int(rows.sum()))


def _before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    before: NDArray[np.int64] = np.cumsum(counts) - counts
    return before


def cuda_rows(memory_bytes: int) -> int:
    """Rows of one forward pass on a GPU of which so much memory is ours: one for each MiB, of which it then takes about 1 %.

    A pass costs the host nearly the same whatever it holds.
    """
    return min(MOST_CUDA_ROWS, max(CUDA_ROWS, memory_bytes >> 20))


def groups(rows: Iterable[int], most: int) -> Iterator[slice]:
    """Neighbours that together have at most so many rows; one that has more stands alone."""
    begin, held, at = 0, 0, 0
    for at, count in enumerate(rows):
        if at > begin and held + count > most:
            yield slice(begin, at)
            begin, held = at, 0
        held += count
    if held or at > begin:
        yield slice(begin, at + 1)
