"""Run VAD passes over many streams, and confine a failure to the streams that cause it."""

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
    """The next samples of a stream for a VAD pass."""

    stream: Stream
    parts: tuple[Pcm, ...]
    final: bool
    #: Of the arena, in which the parts lie: to be freed when the pass is finished.
    slots: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """One VAD call under way, or a failed call for a single stream."""

    offered: Sequence[Offered]
    chunks: Sequence[VadChunk]
    handle: object
    error: Exception | None
    seconds: float  #: duration of the launch


#: A stream's samples with the segments they complete, or with the error of its detector.
Found = tuple[Offered, list[SpeechSegment] | Exception]


class VadRunner:
    """VAD passes under way. Owned by the worker's thread."""

    def __init__(self, model: VadModel) -> None:
        self._model = model if isinstance(model, PipelinedVad) else WholeVadPass(model)
        #: In launch order; each entry lists the calls into which a pass was divided.
        self._begun: deque[list[_Pass]] = deque()

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def samples(self) -> int:
        """Samples in all passes under way."""
        return sum(p.samples for parts in self._begun for one in parts for p in one.chunks)

    def begin(self, offered: Sequence[Offered]) -> None:
        """Launch a pass over the next samples of each stream; their memory may be reused when the pass is finished.

        A failed call consumes nothing, so it is repeated for each half, down to single streams: a smaller call may fit
        into memory, and any other error is confined to the stream that causes it. Raises EngineDiedError.
        """
        if offered:
            chunks = [o.stream.chunk(o.parts, final=o.final) for o in offered]
            self._begun.append(list(self._parts(offered, chunks)))

    def finish(self, now: float, *, wait: bool = True) -> Iterator[Found]:
        """Results of all passes, in order of launch; without `wait`, of those that are ready. Raises EngineDiedError."""
        while self._begun and (wait or self._ready(self._begun[0])):
            for one in self._begun.popleft():
                yield from self._finish(one, now)

    def _ready(self, parts: Sequence[_Pass]) -> bool:
        return all(one.error is not None or self._model.ready(one.handle) for one in parts)

    def _parts(self, offered: Sequence[Offered], chunks: Sequence[VadChunk]) -> Iterator[_Pass]:
        started = time.perf_counter()
        try:
            handle = self._model.begin(chunks)
        except EngineDiedError:
            raise
        except Exception as e:
            error = release_traceback(e)
        else:
            yield _Pass(offered, chunks, handle, None, time.perf_counter() - started)
            return
        # Outside the handler, which would keep the error's frames, and so its tensors, alive.
        if len(offered) == 1:
            yield _Pass(offered, chunks, None, error, 0.0)
            return
        half = len(offered) // 2
        yield from self._parts(offered[:half], chunks[:half])
        yield from self._parts(offered[half:], chunks[half:])

    def _finish(self, begun: _Pass, now: float) -> Iterator[Found]:
        error, regions = begun.error, None
        started = time.perf_counter()
        if error is None:
            try:
                regions = self._model.finish(begun.handle)
            except EngineDiedError:
                raise
            except Exception as e:
                error = release_traceback(e)
        if regions is None:
            assert error is not None
            yield from ((one, error) for one in begun.offered)
            return
        seconds = begun.seconds + time.perf_counter() - started
        yield from _completed(begun.offered, begun.chunks, regions, seconds, now)


def _completed(
    offered: Sequence[Offered],
    chunks: Sequence[VadChunk],
    regions: Sequence[Sequence[Region]],
    seconds: float,
    now: float,
) -> Iterator[tuple[Offered, list[SpeechSegment]]]:
    """Segments of each stream; each stream is charged a share of the call's duration by its number of samples."""
    samples = sum(p.samples for p in chunks)
    for one, chunk, found in zip(offered, chunks, regions, strict=True):
        share = chunk.samples / samples if samples else 1 / len(chunks)
        yield one, one.stream.accept(chunk, found, seconds * share, now)
