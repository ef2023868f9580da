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

from dropscribe.engine.core.interfaces import Hypothesis, LogMelFrames, Pcm, SpeechSegment
from dropscribe.engine.models.speakers.clustering import centres_of, cluster
from dropscribe.engine.models.speakers.embedder import EMBEDDING_SIZE, Embedder, Launched, Windows
from dropscribe.engine.models.speakers.turns import Span, speakers_of_tokens
from dropscribe.engine.models.speakers.windows import WINDOW, centres_ms, first_windows, windows_between
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.errors import EngineDiedError, release_traceback

if TYPE_CHECKING:
    from torch import Tensor

#: Batches under way on a device; the oldest is waited for beyond that.
MOST_AHEAD = 4


@dataclass(slots=True, eq=False)
class _Segment:
    """A segment; `starts` and `embeddings` when its windows are embedded, in order of time."""

    stream: _Stream
    start_ms: int
    end_ms: int
    count: int  #: frames
    midpoints_ms: NDArray[np.float64]
    starts: NDArray[np.int64] | None = None
    embeddings: NDArray[np.float16] | None = None


@dataclass(slots=True, eq=False)
class _Stream:
    speakers: int  #: number asked for; 0: to be found
    segments: dict[int, _Segment] = field(default_factory=dict)
    embedding_s: float = 0.0
    error: Exception | None = None


class _Group:
    """Segments that came together, and columns of their windows."""

    def __init__(self, segments: list[_Segment], frames: Tensor) -> None:
        self.segments = segments
        self.frames: Tensor | None = frames
        counts = np.array([segment.count for segment in segments], np.int64)
        self._first_rows = np.cumsum(counts) - counts
        self._counts = counts
        places = [first_windows(int(count)) for count in counts]
        self.owners = np.repeat(np.arange(len(segments)), [len(one) for one in places])
        self.starts = np.array([start for one in places for start in one], np.int64)
        self.embeddings = np.empty((len(self.starts), 0), np.float16)
        self.missing = len(self.starts)
        self._second_pass = False

    def windows(self, which: slice) -> Windows:
        """Some windows, for the embedder."""
        assert self.frames is not None
        owners, starts = self.owners[which], self.starts[which]
        lengths = np.minimum(self._counts[owners] - starts, WINDOW)
        return Windows(self.frames, self._first_rows[owners] + starts, lengths)

    def take(self, which: slice, embeddings: NDArray[np.float16]) -> None:
        """Note the embeddings of some windows."""
        if self.embeddings.shape[1] == 0:
            self.embeddings = np.empty((len(self.starts), embeddings.shape[1]), np.float16)
        self.embeddings[which] = embeddings
        self.missing -= len(embeddings)

    def more(self) -> slice | None:
        """Windows to be embedded when none are missing: those between windows that differ, once."""
        if self._second_pass:
            return None
        self._second_pass = True
        starts, owners = windows_between(self.starts, self.owners, self.embeddings)
        if not len(starts):
            return None
        known = len(self.starts)
        self.starts = np.concatenate((self.starts, starts))
        self.owners = np.concatenate((self.owners, owners))
        room = np.empty((len(starts), self.embeddings.shape[1]), np.float16)
        self.embeddings = np.concatenate((self.embeddings, room))
        self.missing = len(starts)
        return slice(known, len(self.starts))

    def close(self) -> None:
        """Give each segment its windows, and release the frames."""
        self.frames = None
        order = np.lexsort((self.starts, self.owners))
        bounds = np.searchsorted(self.owners[order], np.arange(len(self.segments) + 1))
        for segment, (first, end) in zip(self.segments, pairwise(bounds.tolist()), strict=True):
            if end > first:
                segment.starts = self.starts[order[first:end]]
                segment.embeddings = self.embeddings[order[first:end]]


#: Windows of a group.
_Chunk = tuple[_Group, slice]


class SpeakerStage:
    """See `dropscribe.engine.core.interfaces.PostprocessingStage`. Owned by one thread."""

    name = "speakers"

    def __init__(self, embedder: Embedder, model_name: str = "") -> None:
        """`model_name`: of the embedder's model; "": for streams that name no models."""
        self._model_name = model_name
        self._embedder = embedder
        self._streams: dict[int, _Stream] = {}
        self._queue: deque[_Chunk] = deque()
        self._queued = 0  #: windows
        self._running: deque[tuple[list[_Chunk], Launched]] = deque()

    def wants(self, options: StreamOptions) -> bool:
        """True if speakers are asked for, of this model."""
        named = self._model_name if options.models is None else options.models.speakers
        return options.speakers is not None and named == self._model_name

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Queue the windows of a batch, and embed as many as fill batches."""
        # The only step that can fail; a failure of the network is reported when the stream ends.
        frames, counts = self._embedder.joined([_sound_of(segment) for segment in segments])
        known = [
            self._added(segment, hypothesis, count)
            for segment, hypothesis, count in zip(segments, hypotheses, counts, strict=True)
        ]
        group = _Group(known, frames)
        self._put(group, slice(0, len(group.starts)))
        self._collect(all_of_them=False)
        while self._queued >= self._embedder.batch:
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
        """Discard the state of a stream. Its windows are ignored when they are done."""
        self._streams.pop(stream, None)

    def _added(self, segment: SpeechSegment, hypothesis: Hypothesis, count: int) -> _Segment:
        stream = self._streams.get(segment.stream)
        if stream is None:
            stream = self._streams[segment.stream] = _Stream(segment.options.speakers or 0)
        tokens = hypothesis.tokens
        starts, ends = map(_numbers, tokens.packed_times())
        midpoints = (starts + ends) / 2
        known = _Segment(stream, segment.start_ms, segment.end_ms, count, midpoints)
        stream.segments[segment.index] = known
        return known

    def _put(self, group: _Group, which: slice | None) -> None:
        """Queue windows of a group; without any, it is complete."""
        if which is None or which.start == which.stop:
            group.close()
            return
        self._queue.append((group, which))
        self._queued += which.stop - which.start

    def _launch(self) -> None:
        """Embed the oldest windows, as many as fill a batch."""
        chosen: list[_Chunk] = []
        left = self._embedder.batch
        while left and self._queue:
            group, which = self._queue.popleft()
            end = min(which.stop, which.start + left)
            if end < which.stop:
                self._queue.appendleft((group, slice(end, which.stop)))
            chosen.append((group, slice(which.start, end)))
            left -= end - which.start
        self._queued -= self._embedder.batch - left
        try:
            launched = self._embedder.begin([group.windows(which) for group, which in chosen])
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
            chunks, launched = self._running.popleft()
            try:
                found, seconds = self._embedder.finish(launched)
            except EngineDiedError:
                raise
            except Exception as e:
                self._fail(chunks, release_traceback(e))
                continue
            at = 0
            for group, which in chunks:
                end = at + which.stop - which.start
                self._take(group, which, found[at:end], seconds / len(found))
                at = end

    def _take(self, group: _Group, which: slice, embeddings: NDArray[np.float16], seconds: float) -> None:
        """Note embeddings of a group; `seconds`: of each."""
        counts = np.bincount(group.owners[which], minlength=len(group.segments))
        for owner in np.flatnonzero(counts).tolist():
            group.segments[owner].stream.embedding_s += seconds * int(counts[owner])
        group.take(which, embeddings)
        if not group.missing:
            self._put(group, group.more())

    def _fail(self, chunks: Sequence[_Chunk], error: Exception) -> None:
        """Note the failure for the streams of these windows; the others of their groups go on."""
        for group, which in chunks:
            for owner in np.unique(group.owners[which]).tolist():
                stream = group.segments[owner].stream
                stream.error = stream.error or error
            self._take(group, which, np.zeros((which.stop - which.start, EMBEDDING_SIZE), np.float16), 0.0)


def _numbers(times: Sequence[int] | bytes) -> NDArray[np.float64]:
    """A column of `Tokens.packed_times`."""
    return np.array(np.frombuffer(times, np.intc) if isinstance(times, bytes) else times, np.float64)


def _sound_of(segment: SpeechSegment) -> Pcm | LogMelFrames:
    sound = segment.pcm if segment.log_mel is None else segment.log_mel
    assert sound is not None, "neither samples nor frames"
    return sound


def _annotations(stream: _Stream | None) -> Annotations:
    """Speakers of a stream whose windows are all embedded."""
    if stream is None:
        return Annotations()
    began = time.perf_counter()
    ordered = [stream.segments[index] for index in sorted(stream.segments)]
    midpoints = np.concatenate([segment.midpoints_ms for segment in ordered]) if ordered else np.zeros(0)
    spans: list[Span] = []
    found: list[NDArray[np.float16]] = []
    count = 0
    for segment in ordered:
        if segment.starts is not None and segment.embeddings is not None:
            middles = segment.start_ms + centres_ms(segment.starts, segment.count)
            spans.append(Span(segment.start_ms, segment.end_ms, count, tuple(middles.tolist())))
            found.append(segment.embeddings)
            count += len(segment.embeddings)
    embeddings = np.concatenate(found).astype(np.float32) if found else np.zeros((0, 1), np.float32)
    seconds = np.array([s for span in spans for s in span.seconds], np.float64)
    labels = cluster(embeddings, seconds, stream.speakers)
    numbers, order = speakers_of_tokens(spans, labels, midpoints.tolist())
    centres = centres_of(embeddings, labels)
    voices = tuple(centres[label].astype("<f2").tobytes() for label in order)
    if len(midpoints) and not voices:
        voices = (b"",)
    took = time.perf_counter() - began
    return Annotations(
        speakers=numbers,
        voices=voices if len(midpoints) else (),
        seconds=(("embedding", stream.embedding_s), ("clustering", took)),
    )
