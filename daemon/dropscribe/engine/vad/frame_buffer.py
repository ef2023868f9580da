"""Buffer of a stream's log-mel frames for regions that are not complete yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dropscribe.engine.core.interfaces import LogMelFrames

if TYPE_CHECKING:
    from torch import Tensor


class HeldFrames:
    """Frames in the tensors they were computed in, one per VAD pass. Owned by the worker's thread.

    Returned frames are views of those tensors, not copies.
    """

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, Tensor]] = deque()  #: (number of the first frame, frames)
        self._end = 0

    @property
    def end(self) -> int:
        """Number of the next frame."""
        return self._end

    def add(self, frames: Tensor) -> None:
        """Append the next frames of the stream, (n, 80)."""
        if len(frames):
            self._chunks.append((self._end, frames))
            self._end += len(frames)

    def between(self, first: int, last: int) -> LogMelFrames | None:
        """Frames `first` (inclusive) to `last` (exclusive); None if some of them are not in the buffer."""
        parts = tuple(
            frames[max(0, first - at) : last - at]
            for at, frames in self._chunks
            if at < last and at + len(frames) > first
        )
        return parts if sum(map(len, parts)) == last - first else None

    def forget_before(self, frame: int) -> None:
        """Discard frames before this one."""
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= frame:
            self._chunks.popleft()
