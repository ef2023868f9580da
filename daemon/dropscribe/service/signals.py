"""Turn signals into flags and a readable descriptor; the handlers do nothing else."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Self


class Signals:
    """Signal flags and wake-up pipe of the main thread. Use as a context manager.

    `stops` counts SIGTERM and SIGINT; SIGHUP sets `reload`. `wake_fd` becomes readable on a signal or `wake`.
    """

    def __init__(self) -> None:
        self.stops = 0
        self.reload = False
        self.wake_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: list[tuple[signal.Signals, object]] = []

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._old.append((number, signal.signal(number, self._on_signal)))
        return self

    def __exit__(self, *_: object) -> None:
        for number, old in self._old:
            signal.signal(number, old)  # type: ignore[arg-type] # what signal.signal itself returned
        os.close(self.wake_fd)
        os.close(self._write_fd)
        self._write_fd = -1

    def wake(self) -> None:
        """Make `wake_fd` readable; from any thread."""
        try:
            os.write(self._write_fd, b"!")
        except BlockingIOError:
            return  # the pipe is full, hence `wake_fd` readable
        except OSError:
            if self._write_fd >= 0:
                raise

    def drain(self) -> None:
        """Discard pending wake-ups."""
        try:
            os.read(self.wake_fd, 4096)
        except BlockingIOError:
            return

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stops += 1
        self.wake()
