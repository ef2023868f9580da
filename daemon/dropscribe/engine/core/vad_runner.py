"""Looks for speech in many streams that are under way: begun, awaited, and what a failure costs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropscribe.engine.core.interfaces import (
    Pcm,
    PipelinedVad,
    Region,
    SpeechSegment,
    VadChunk,
    VadModel,
    WholeVadPass,
)
from dropscribe.engine.core.streams import Stream
from dropscribe.errors import EngineDiedError, release_traceback


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """The next samples of a stream, about to be looked at."""

    stream: Stream
    parts: tuple[Pcm, ...]
    final: bool


@dataclass(frozen=True, slots=True, eq=False)
class _VadPass:
    """Pieces that are being looked at together, or the one whose detector would not."""

    offered: Sequence[Offered]
    pieces: Sequence[VadChunk]
    handle: object
    error: Exception | None
    seconds: float  #: what it took to begin


#: What a stream's samples complete, or why its detector failed.
Found = tuple[Offered, list[SpeechSegment] | Exception]


class VadRunner:
    """Looks under way. Owned by the worker's thread."""

    def __init__(self, model: VadModel) -> None:
        self._model = model if isinstance(model, PipelinedVad) else WholeVadPass(model)
        #: Whether a look may be begun before the one before it is finished.
        self.runs_ahead = isinstance(model, PipelinedVad)
        #: In the order in which they were begun; each in as many parts as it took.
        self._begun: deque[list[_VadPass]] = deque()

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def samples(self) -> int:
        """In all that is being looked at."""
        return sum(p.samples for parts in self._begun for look in parts for p in look.pieces)

    def begin(self, offered: Sequence[Offered]) -> None:
        """Look at the next samples of each stream; whoever gave them may have them back afterwards.

        A call that fails took nothing, so its halves are tried, down to the stream at fault: out of memory, a smaller
        call may do; of anything else, only who causes it suffers. Raises EngineDiedError.
        """
        if offered:
            pieces = [o.stream.piece(o.parts, final=o.final) for o in offered]
            self._begun.append(list(self._parts(offered, pieces)))

    def finish(self, now: float, *, but: int = 0) -> Iterator[Found]:
        """Wait for the oldest looks, all but so many; what each stream has, in the order offered. Raises EngineDiedError."""
        while len(self._begun) > but:
            for look in self._begun.popleft():
                yield from self._finish(look, now)

    def _parts(self, offered: Sequence[Offered], pieces: Sequence[VadChunk]) -> Iterator[_VadPass]:
        started = time.perf_counter()
        try:
            handle = self._model.begin(pieces)
        except EngineDiedError:
            raise
        except Exception as e:
            error = release_traceback(e)
        else:
            yield _VadPass(offered, pieces, handle, None, time.perf_counter() - started)
            return
        # Not in the handler, where the error's frames would still be alive.
        if len(offered) == 1:
            yield _VadPass(offered, pieces, None, error, 0.0)
            return
        half = len(offered) // 2
        yield from self._parts(offered[:half], pieces[:half])
        yield from self._parts(offered[half:], pieces[half:])

    def _finish(self, look: _VadPass, now: float) -> Iterator[Found]:
        error, regions = look.error, None
        started = time.perf_counter()
        if error is None:
            try:
                regions = self._model.finish(look.handle)
            except EngineDiedError:
                raise
            except Exception as e:
                error = release_traceback(e)
        if regions is None:
            assert error is not None
            yield from ((one, error) for one in look.offered)
            return
        seconds = look.seconds + time.perf_counter() - started
        yield from _completed(look.offered, look.pieces, regions, seconds, now)


def _completed(
    offered: Sequence[Offered],
    pieces: Sequence[VadChunk],
    regions: Sequence[Sequence[Region]],
    seconds: float,
    now: float,
) -> Iterator[tuple[Offered, list[SpeechSegment]]]:
    """Each stream is charged for the share of the call that its samples are."""
    samples = sum(p.samples for p in pieces)
    for one, piece, found in zip(offered, pieces, regions, strict=True):
        share = piece.samples / samples if samples else 1 / len(pieces)
        yield one, one.stream.accept(piece, found, seconds * share, now)
