"""Buffer of a stream's log-mel frames for regions that are not complete yet."""

from __future__ import annotations

from collections import deque

from dropscribe.engine.core.interfaces import Frames, LogMelFrames

#: Largest memory of kept frames, in terms of their own size.
MOST_SPARE = 2


class HeldFrames:
    """Frames in the tensors they were computed in: those of a VAD pass, of all its streams. Owned by the worker's thread.

    What is kept of a pass after its regions were taken is copied, so that it does not keep all streams' frames alive.
    """

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, Frames]] = deque()  #: (number of the first frame, frames)
        self._end = 0

    @property
    def end(self) -> int:
        """Number of the next frame."""
        return self._end

    def add(self, frames: Frames) -> None:
        """Append the next frames of the stream."""
        if frames.length:
            self._chunks.append((self._end, frames))
            self._end += frames.length

    def between(self, first: int, last: int) -> LogMelFrames | None:
        """Frames `first` (inclusive) to `last` (exclusive); None if some of them are not in the buffer."""
        parts = []
        reached = first
        for at, (source, begin, end) in self._chunks:
            if not at <= reached < last:
                break
            until = min(last, at + end - begin)
            if until > reached:
                parts.append(Frames(source, begin + reached - at, begin + until - at))
                reached = until
        return tuple(parts) if reached == last else None

    def forget_before(self, frame: int) -> None:
        """Discard frames before this one."""
        chunks = self._chunks
        while chunks and chunks[0][0] + chunks[0][1].length <= frame:
            chunks.popleft()
        for i, (at, frames) in enumerate(chunks):
            begin = max(at, frame)
            kept = Frames(frames.source, frames.first + begin - at, frames.last)
            if len(kept.source) > MOST_SPARE * kept.length:
                chunks[i] = begin, Frames(kept.cut().clone(), 0, kept.length)
