"""Models with injected failures or pipelining. While they do not fail they pass `tests/contract/test_stages.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dropscribe.engine.core.interfaces import Hypothesis, Region, SpeechSegment, Vad, VadChunk
from dropscribe.engine.models.null import NullRecogniser, NullVad, NullVadModel


class FailsOn:
    """Recogniser that raises for a batch with a segment that `bad` selects; records the sizes of all batches."""

    def __init__(self, error: Exception, bad: Callable[[Sequence[SpeechSegment]], bool]) -> None:
        self.error = error
        self.bad = bad
        self.sizes: list[int] = []

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        self.sizes.append(len(segments))
        if self.bad(segments):
            raise self.error
        return NullRecogniser()(segments)


class Listening:
    """Recogniser that records the hotwords of each segment."""

    def __init__(self) -> None:
        self.hotwords: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        self.hotwords += [(s.stream, s.options.hotwords) for s in segments]
        return NullRecogniser()(segments)


class Deep:
    """Recogniser with three batches under way, like a GPU's; each is computed in `finish`."""

    depth = 3

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        return segments

    def ready(self, handle: Any) -> bool:
        return True

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        return NullRecogniser()(handle)

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        return NullRecogniser()(segments)


class Fragile:
    """VAD model that raises for too many chunks in a call or for a bad one, and then consumes nothing."""

    def __init__(self, error: Exception, *, most: int = 100, bad: int | None = None) -> None:
        self.error = error
        self.most = most
        self.bad = bad
        self.calls: list[int] = []

    def open(self) -> Vad:
        return NullVad()

    def accept(self, pieces: Sequence[VadChunk]) -> list[Sequence[Region]]:
        self.calls.append(len(pieces))
        if len(pieces) > self.most or any(p.parts[0][0] == self.bad for p in pieces):
            raise self.error
        return NullVadModel().accept(pieces)


class Ahead:
    """VAD model that computes a pass in `finish`, like a GPU's. Streams in `lost` get no result.

    Streams are identified by their first sample.
    """

    def __init__(self, lost: frozenset[int] = frozenset()) -> None:
        self.lost = lost
        #: ("begin" or "finish", streams of that VAD pass).
        self.events: list[tuple[str, tuple[int, ...]]] = []
        self._asked: set[tuple[int, ...]] = set()

    def open(self) -> Vad:
        return NullVad()

    def accept(self, pieces: Sequence[VadChunk]) -> list[Sequence[Region]]:
        return self.finish(self.begin(pieces))

    def begin(self, pieces: Sequence[VadChunk]) -> list[tuple[VadChunk, int]]:
        handle = [(p, int(p.parts[0][0])) for p in pieces]
        self.events.append(("begin", tuple(number for _, number in handle)))
        return handle

    def ready(self, handle: list[tuple[VadChunk, int]]) -> bool:
        """False when asked for the first time."""
        numbers = tuple(number for _, number in handle)
        known = numbers in self._asked
        self._asked.add(numbers)
        return known

    def finish(self, handle: list[tuple[VadChunk, int]]) -> list[Sequence[Region]]:
        numbers = tuple(number for _, number in handle)
        self.events.append(("finish", numbers))
        if self.lost.intersection(numbers):
            raise RuntimeError("the device gave nothing back")
        return NullVadModel().accept([p for p, _ in handle])
