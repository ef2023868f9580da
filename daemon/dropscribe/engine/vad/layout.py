"""Lay out the samples, frames and rows of one VAD call, per stream and for all streams. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.core.interfaces import Pcm

#: Length and shift of a filter bank frame, samples; equal to those of `dropscribe.engine.layers.fbank`.
FRAME_SAMPLES = 400
SHIFT_SAMPLES = 160
#: Smallest and largest row limit of a forward pass on a GPU. The largest is a whole VAD pass: what a forward pass costs the
#: host hardly depends on its size.
CUDA_ROWS = 16_384
MOST_CUDA_ROWS = 262_144


@dataclass(frozen=True, slots=True)
class Splice:
    """Number of neighbouring frames in a row, before and after its own; the first and last frame are repeated."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """Progress of a stream: rows emitted, and the samples that later rows need."""

    samples: Pcm  #: from the beginning of frame number `first_frame`
    first_frame: int
    rows: int  #: rows emitted so far; row t is frame t with its neighbours
    frames: int  #: frames computed so far


START = Position(np.zeros(0, np.int16), 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Part of one stream in a call."""

    parts: tuple[Pcm, ...]  #: its samples, in consecutive parts
    samples: int
    frames: int  #: frames in the samples
    computed: int  #: number of leading frames that an earlier call has computed already
    skipped: int  #: frames before that of the first new row
    rows: int  #: new rows
    after: Position
    final: bool  #: the last one of its stream


def step(at: Position, new: tuple[Pcm, ...], splice: Splice, *, final: bool) -> Step:
    """Compute the rows that become complete with the samples in `new`.

    A row needs `splice.after` later frames, except at the end of the stream (`final`).
    """
    parts = (at.samples, *new)
    samples = sum(map(len, parts))
    frames = 0 if samples < FRAME_SAMPLES else 1 + (samples - FRAME_SAMPLES) // SHIFT_SAMPLES
    known = at.first_frame + frames
    # Without any frame there is no last one to repeat, so no rows are emitted at the end either.
    until = known if final else max(at.rows, known - splice.after)
    first = max(0, until - splice.before)
    begin = (first - at.first_frame) * SHIFT_SAMPLES
    kept = _end_of(parts, samples - begin)
    rows = until - at.rows
    # Without a new row no frames are computed now; the samples are part of the next step.
    after = Position(kept, first, until, known if rows else at.frames)
    computed = at.frames - at.first_frame
    return Step(parts, samples, frames, computed, at.rows - at.first_frame, rows, after, final)


def _end_of(parts: tuple[Pcm, ...], count: int) -> Pcm:
    """The last `count` samples, as a copy: the memory of the parts is reused by its owner."""
    found: list[Pcm] = []
    for part in reversed(parts):
        if count <= 0:
            break
        found.append(part[max(0, len(part) - count) :])
        count -= len(found[-1])
    return np.concatenate(found[::-1]) if found else START.samples


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Layout of all streams of a call that have new rows, consecutively."""

    #: (6, streams): first sample, frames, first frame, rows with context, first row, skipped
    sizes: NDArray[np.int64]
    samples: int
    frames: int
    rows: int

    @property
    def streams(self) -> int:
        return len(self.sizes[0])

    def new_rows(self, stream: int, left: int) -> slice:
        """Range of a stream's new rows, after their context."""
        first = int(self.sizes[4, stream])
        return slice(first + left, first + int(self.sizes[3, stream]))


def plan(steps: Sequence[Step], left: int) -> Plan:
    """Lay out steps that have rows, each after `left` rows of context."""
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
    """Row limit of a forward pass on a GPU with `memory_bytes` for this process: two per MiB, about 1 % of the memory."""
    return min(MOST_CUDA_ROWS, max(CUDA_ROWS, memory_bytes >> 19))


def groups(rows: Iterable[int], most: int) -> Iterator[slice]:
    """Group consecutive streams with at most `most` rows in all; a stream with more is a group of its own."""
    begin, held, at = 0, 0, 0
    for at, count in enumerate(rows):
        if at > begin and held + count > most:
            yield slice(begin, at)
            begin, held = at, 0
        held += count
    if held or at > begin:
        yield slice(begin, at + 1)
