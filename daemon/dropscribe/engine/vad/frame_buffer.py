"""Log-mel frames of one stream, kept for regions that are not certain yet."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dropscribe.engine.core.interfaces import LogMelFrames

if TYPE_CHECKING:
    from torch import Tensor


class HeldFrames:
    """Frames in the pieces they were computed in. Owned by the worker's thread.

    What it gives out are parts of those pieces, not copies; a piece is as long as one look at the stream.
    """

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, Tensor]] = deque()  #: each with the number of its first frame
        self._end = 0

    @property
    def end(self) -> int:
        """Number of the frame that comes next."""
        return self._end

    def add(self, frames: Tensor) -> None:
        """The next frames of the stream, (n, 80)."""
        if len(frames):
            self._pieces.append((self._end, frames))
            self._end += len(frames)

    def between(self, first: int, last: int) -> LogMelFrames | None:
        """Frames number `first` to before `last`; None if some of them are not held."""
        parts = tuple(
            frames[max(0, first - at) : last - at]
            for at, frames in self._pieces
            if at < last and at + len(frames) > first
        )
        return parts if sum(map(len, parts)) == last - first else None

    def forget_before(self, frame: int) -> None:
        """No frame before this one will be asked for."""
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][1]) <= frame:
            self._pieces.popleft()
