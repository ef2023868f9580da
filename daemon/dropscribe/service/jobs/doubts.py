"""Whether a device that failed on one recording failed because of it. Pure."""

from __future__ import annotations


class Doubts:
    """A broken device fails on whatever it is given; a poison recording fails on a device that does others well.

    So a recording on which a device failed, though it was alone there, is to blame only when another one has been
    recognised between its first time and its latest. Until then it waits, and costs no try. What is known is
    forgotten when the daemon ends, which costs such a recording one more uncounted try. Owned by one thread.
    """

    def __init__(self) -> None:
        self._recognised = 0
        #: By job: how many had been recognised when a device first failed on it alone, and how often that was.
        self._raised: dict[int, tuple[int, int]] = {}

    def recognised(self, job: int) -> None:
        """A recording came through."""
        self._recognised += 1
        self._raised.pop(job, None)

    def raised(self, job: int) -> int:
        """A device failed on this job alone: how many times by now without proof, 0 when it is the job's doing."""
        before, times = self._raised.get(job, (self._recognised, 0))
        if self._recognised > before:
            return 0
        self._raised[job] = before, times + 1
        return times + 1
