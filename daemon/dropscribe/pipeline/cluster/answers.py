"""Answers of stations on their way to the head's main thread."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Callable


class Answers:
    """A queue of calls, with a descriptor that is readable while there are some."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def fileno(self) -> int:
        """Descriptor that is readable when there are answers."""
        return self._bell

    def add(self, answer: Callable[[], None]) -> None:
        """Queue an answer. May be called on any thread."""
        self._waiting.put(answer)
        os.eventfd_write(self._bell, 1)

    def give(self) -> None:
        """Call all answers that have arrived, on the calling thread."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        with contextlib.suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()()
