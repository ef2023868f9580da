"""Run VAD passes over many streams, and confine a failure to the streams that cause it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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

#: Passes that `VadThread` has on the device at once: one runs while the next is launched.
_ON_DEVICE = 2
#: Passes of `VadThread` in all: a batch is made of some three.
_AHEAD = 4


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """The next samples of a stream for a VAD pass."""

    stream: Stream
    parts: tuple[Pcm, ...]
    final: bool


#: A stream's samples with the segments they complete, or with the error of its detector.
Found = tuple[Offered, list[SpeechSegment] | Exception]


class VadPasses(Protocol):
    """VAD passes under way. Owned by the worker's thread; the methods raise EngineDiedError."""

    #: True if passes run beside the owner's thread.
    beside: bool
    #: True if a pass may be begun before the previous one is finished.
    runs_ahead: bool
    #: Most passes to begin before the results of the first are taken.
    most_ahead: int

    def __len__(self) -> int:
        """Number of passes begun and not finished."""

    @property
    def samples(self) -> int:
        """Samples in all passes under way."""

    @property
    def unread(self) -> int:
        """Number of passes, the newest ones, whose samples are still read: their memory may not be reused yet."""

    @property
    def ready(self) -> int:
        """Number of passes, the oldest ones, that are known to be done: `finish` does not wait for them."""

    def begin(self, offered: Sequence[Offered]) -> None:
        """Begin a pass over the next samples of each stream.

        A failed call consumes nothing, so it is repeated for each half, down to single streams: a smaller call may fit
        into memory, and any other error is confined to the stream that causes it.
        """

    def finish(self, now: float, *, but: int = 0) -> Iterator[Found]:
        """Wait for all passes but the newest `but`; yields results in the order in which they were begun."""

    def close(self) -> None:
        """End what runs beside the owner's thread. No other call may follow."""


class VadRunner:
    """`VadPasses` on the owner's thread."""

    beside = False
    most_ahead = 1
    unread = 0
    ready = 0

    def __init__(self, model: VadModel) -> None:
        self._model = _pipelined(model)
        self.runs_ahead = isinstance(model, PipelinedVad)
        #: In the order in which they were begun.
        self._begun: deque[_Pass] = deque()

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def samples(self) -> int:
        return sum(one.samples for one in self._begun)

    def begin(self, offered: Sequence[Offered]) -> None:
        if offered:
            one = _Pass.of(offered)
            one.launch(self._model)
            self._begun.append(one)

    def finish(self, now: float, *, but: int = 0) -> Iterator[Found]:
        while len(self._begun) > but:
            one = self._begun.popleft()
            one.complete(self._model)
            yield from one.found(now)

    def close(self) -> None:
        pass


class VadThread:
    """`VadPasses` on a thread of its own.

    Beside a GPU the thread that launches the batches is the limit, and launching VAD would take half of its time.
    """

    beside = True
    runs_ahead = True
    most_ahead = _AHEAD

    def __init__(self, model: VadModel) -> None:
        self._model = _pipelined(model)
        self._changed = threading.Condition()
        # Guarded by `_changed`. A pass moves from one of these to the next.
        self._asked: deque[_Pass] = deque()
        self._launched: deque[_Pass] = deque()
        self._done: deque[_Pass] = deque()
        self._failure: BaseException | None = None
        self._closed = False
        #: All passes begun and not finished, in order. Of the owner.
        self._begun: deque[_Pass] = deque()
        self._thread = threading.Thread(target=self._run, name="vad", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def samples(self) -> int:
        return sum(one.samples for one in self._begun)

    @property
    def unread(self) -> int:
        return sum(not one.read for one in self._begun)

    @property
    def ready(self) -> int:
        return len(self._done)

    def begin(self, offered: Sequence[Offered]) -> None:
        if not offered:
            return
        one = _Pass.of(offered)
        self._begun.append(one)
        with self._changed:
            self._check()
            self._asked.append(one)
            self._changed.notify_all()

    def finish(self, now: float, *, but: int = 0) -> Iterator[Found]:
        while len(self._begun) > but:
            with self._changed:
                self._changed.wait_for(lambda: self._done or self._failure is not None)
                self._check()
                one = self._done.popleft()
            self._begun.popleft()
            yield from one.found(now)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as e:
            with self._changed:
                self._failure = e
                self._changed.notify_all()

    def _turn(self) -> bool:
        """Launch the next pass or complete the oldest; returns False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked or self._launched or self._closed)
            if self._closed:
                return False
            launching = bool(self._asked) and len(self._launched) < _ON_DEVICE
            one = (self._asked if launching else self._launched).popleft()
        if launching:
            one.launch(self._model)
        else:
            one.complete(self._model)
        with self._changed:
            (self._launched if launching else self._done).append(one)
            self._changed.notify_all()
        return True


def _pipelined(model: VadModel) -> PipelinedVad:
    return model if isinstance(model, PipelinedVad) else WholeVadPass(model)


@dataclass(slots=True, eq=False)
class _Call:
    """One call of the model, for all streams of a pass or, after a failure, for some of them."""

    offered: Sequence[Offered]
    chunks: Sequence[VadChunk]
    handle: object = None
    error: Exception | None = None
    seconds: float = 0.0  #: duration of the call
    regions: Sequence[Sequence[Region]] = ()
    #: Of each stream, after this call: earliest start of a later region, ms.
    needed_from_ms: Sequence[int] = ()


@dataclass(slots=True, eq=False)
class _Pass:
    """A pass: asked for, launched, complete. Changed by one thread at a time."""

    offered: Sequence[Offered]
    chunks: Sequence[VadChunk]
    samples: int
    read: bool = False  #: the samples have been read
    calls: list[_Call] = field(default_factory=list)

    @classmethod
    def of(cls, offered: Sequence[Offered]) -> _Pass:
        chunks = [o.stream.chunk(o.parts, final=o.final) for o in offered]
        return cls(offered, chunks, sum(chunk.samples for chunk in chunks))

    def launch(self, model: PipelinedVad) -> None:
        """Raises EngineDiedError."""
        self.calls = list(_calls(model, self.offered, self.chunks))
        self.read = True

    def complete(self, model: PipelinedVad) -> None:
        """Wait for the device. Raises EngineDiedError."""
        for call in self.calls:
            if call.error is not None:
                continue
            started = time.perf_counter()
            try:
                call.regions = model.finish(call.handle)
            except EngineDiedError:
                raise
            except Exception as e:
                call.error = release_traceback(e)
            # Now: a later pass of the same stream changes it.
            call.needed_from_ms = [chunk.vad.needed_from_ms for chunk in call.chunks]
            call.seconds += time.perf_counter() - started
            call.handle = None

    def found(self, now: float) -> Iterator[Found]:
        """Segments of each stream; each stream is charged a share of its call's duration by its number of samples."""
        for call in self.calls:
            if call.error is not None:
                yield from ((one, call.error) for one in call.offered)
                continue
            samples = sum(chunk.samples for chunk in call.chunks)
            for one, chunk, regions, needed_from_ms in zip(
                call.offered, call.chunks, call.regions, call.needed_from_ms, strict=True
            ):
                share = chunk.samples / samples if samples else 1 / len(call.chunks)
                yield one, one.stream.accept(chunk, regions, needed_from_ms, call.seconds * share, now)


def _calls(model: PipelinedVad, offered: Sequence[Offered], chunks: Sequence[VadChunk]) -> Iterator[_Call]:
    """Begin a call for all streams; if it fails, for each half. Raises EngineDiedError."""
    started = time.perf_counter()
    try:
        handle = model.begin(chunks)
    except EngineDiedError:
        raise
    except Exception as e:
        error = release_traceback(e)
    else:
        yield _Call(offered, chunks, handle, seconds=time.perf_counter() - started)
        return
    # Outside the handler, which would keep the error's frames, and so its tensors, alive.
    if len(offered) == 1:
        yield _Call(offered, chunks, error=error)
        return
    half = len(offered) // 2
    yield from _calls(model, offered[:half], chunks[:half])
    yield from _calls(model, offered[half:], chunks[half:])
