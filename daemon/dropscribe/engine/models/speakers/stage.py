"""The postprocessing stage "speakers": who said each token, from the voice.

Windows of all streams are embedded in common batches as segments are recognised. When a stream ends, its windows are
clustered, and each token gets a speaker. Frames are kept until their segment's windows are embedded, embeddings until the
stream ends: 1.3 MB per hour of speech.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.speakers.clustering import centres_of, cluster
from dropscribe.engine.models.speakers.embedder import Embedder, Launched
from dropscribe.engine.models.speakers.turns import Span, speakers_of_tokens
from dropscribe.engine.models.speakers.windows import WINDOW, centre_ms, first_windows, window_between
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.errors import EngineDiedError, release_traceback

if TYPE_CHECKING:
    from torch import Tensor

#: Batches under way on a device; the oldest is waited for beyond that.
MOST_AHEAD = 4


@dataclass(slots=True)
class _Segment:
    """A segment whose windows are being embedded; `frames` until they all are."""

    stream: _Stream
    start_ms: int
    end_ms: int
    count: int  #: frames
    frames: Tensor | None
    midpoints_ms: NDArray[np.float64]
    waiting: int = 0  #: windows queued or under way
    second_pass: bool = False
    #: First frame and embedding of each window.
    windows: list[tuple[int, NDArray[np.float16]]] = field(default_factory=list)


@dataclass(slots=True)
class _Stream:
    speakers: int  #: number asked for; 0: to be found
    segments: dict[int, _Segment] = field(default_factory=dict)
    embedding_s: float = 0.0
    error: Exception | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    segment: _Segment
    start: int
    frames: Tensor


class SpeakerStage:
    """See `dropscribe.engine.core.interfaces.PostprocessingStage`. Owned by the worker's thread."""

    name = "speakers"

    def __init__(self, embedder: Embedder, model_name: str = "") -> None:
        """`model_name`: of the embedder's model; "": for streams that name no models."""
        self._model_name = model_name
        self._embedder = embedder
        self._streams: dict[int, _Stream] = {}
        self._queue: deque[_Window] = deque()
        self._running: deque[tuple[list[_Window], Launched]] = deque()

    def wants(self, options: StreamOptions) -> bool:
        """True if speakers are asked for, of this model."""
        named = self._model_name if options.models is None else options.models.speakers
        return options.speakers is not None and named == self._model_name

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Queue the windows of a batch, and embed as many as fill batches."""
        # The only step that can fail; a failure of the network is reported when the stream ends.
        every = [self._frames(segment) for segment in segments]
        for segment, hypothesis, frames in zip(segments, hypotheses, every, strict=True):
            self._add(segment, hypothesis, frames)
        self._collect(all_of_them=False)
        while len(self._queue) >= self._embedder.batch:
            self._launch()

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        """Embed what is queued, cluster, and return the speakers of each token with their voices."""
        while self._queue or self._running:
            while self._queue:
                self._launch()
            self._collect(all_of_them=True)
        for number in streams:
            stream = self._streams.get(number)
            if stream is not None and stream.error is not None:
                raise stream.error
        made = {number: _annotations(self._streams.get(number)) for number in streams}
        for number in streams:
            self._streams.pop(number, None)
        return made

    def drop(self, stream: int) -> None:
        """Discard the state of a stream. Its windows under way are ignored when they are done."""
        dropped = self._streams.pop(stream, None)
        if dropped is not None:
            self._queue = deque(w for w in self._queue if w.segment.stream is not dropped)

    def _frames(self, segment: SpeechSegment) -> Tensor:
        sound = segment.pcm if segment.log_mel is None else segment.log_mel
        assert sound is not None, "neither samples nor frames"
        return self._embedder.frames(sound)

    def _add(self, segment: SpeechSegment, hypothesis: Hypothesis, frames: Tensor) -> None:
        stream = self._streams.get(segment.stream)
        if stream is None:
            stream = self._streams[segment.stream] = _Stream(segment.options.speakers or 0)
        tokens = hypothesis.tokens
        midpoints = (np.array(tokens.starts_ms, np.float64) + np.array(tokens.ends_ms, np.float64)) / 2
        known = _Segment(stream, segment.start_ms, segment.end_ms, len(frames), frames, midpoints)
        stream.segments[segment.index] = known
        self._put(known, first_windows(len(frames)))

    def _put(self, segment: _Segment, starts: Sequence[int]) -> None:
        """Queue windows of a segment; without any, its frames are released."""
        if not starts:
            segment.frames = None
            return
        assert segment.frames is not None
        segment.waiting = len(starts)
        self._queue.extend(_Window(segment, at, segment.frames[at : at + WINDOW]) for at in starts)

    def _launch(self) -> None:
        """Embed the oldest windows, as many as fill a batch."""
        chosen = [self._queue.popleft() for _ in range(min(len(self._queue), self._embedder.batch))]
        try:
            launched = self._embedder.begin([w.frames for w in chosen])
        except EngineDiedError:
            raise
        except Exception as e:
            self._fail(chosen, release_traceback(e))
            return
        self._running.append((chosen, launched))
        self._collect(all_of_them=not self._embedder.runs_ahead)

    def _collect(self, *, all_of_them: bool) -> None:
        """Take the results that are there; the oldest is waited for if too many are under way."""
        while self._running and (all_of_them or len(self._running) > MOST_AHEAD or self._running[0][1].ready):
            windows, launched = self._running.popleft()
            try:
                found, seconds = self._embedder.finish(launched)
            except EngineDiedError:
                raise
            except Exception as e:
                self._fail(windows, release_traceback(e))
                continue
            for window, embedding in zip(windows, found, strict=True):
                self._take(window, embedding, seconds / len(windows))

    def _take(self, window: _Window, embedding: NDArray[np.float16], seconds: float) -> None:
        segment = window.segment
        segment.stream.embedding_s += seconds
        segment.windows.append((window.start, embedding))
        segment.waiting -= 1
        if segment.waiting:
            return
        segment.windows.sort(key=lambda w: w[0])
        between: list[int] = []
        if not segment.second_pass:
            segment.second_pass = True
            for (first, one), (second, other) in pairwise(segment.windows):
                place = window_between(
                    first, second, float(one.astype(np.float32) @ other.astype(np.float32))
                )
                if place is not None:
                    between.append(place)
        self._put(segment, between)

    def _fail(self, windows: Sequence[_Window], error: Exception) -> None:
        """Note the failure for the streams of these windows."""
        for window in windows:
            window.segment.stream.error = window.segment.stream.error or error


def _annotations(stream: _Stream | None) -> Annotations:
    """Speakers of a stream whose windows are all embedded."""
    if stream is None:
        return Annotations()
    began = time.perf_counter()
    ordered = [stream.segments[index] for index in sorted(stream.segments)]
    midpoints = [at for segment in ordered for at in segment.midpoints_ms.tolist()]
    spans: list[Span] = []
    found: list[NDArray[np.float16]] = []
    for segment in ordered:
        if segment.windows:
            middles = tuple(segment.start_ms + centre_ms(at, segment.count) for at, _ in segment.windows)
            spans.append(Span(segment.start_ms, segment.end_ms, len(found), middles))
            found += [embedding for _, embedding in segment.windows]
    embeddings = np.stack(found).astype(np.float32) if found else np.zeros((0, 1), np.float32)
    seconds = np.array([s for span in spans for s in span.seconds], np.float64)
    labels = cluster(embeddings, seconds, stream.speakers)
    numbers, order = speakers_of_tokens(spans, labels, midpoints)
    centres = centres_of(embeddings, labels)
    voices = tuple(centres[label].astype("<f2").tobytes() for label in order)
    if midpoints and not voices:
        voices = (b"",)
    took = time.perf_counter() - began
    return Annotations(
        speakers=numbers,
        voices=voices if midpoints else (),
        seconds=(("embedding", stream.embedding_s), ("clustering", took)),
    )
