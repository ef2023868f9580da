"""Turn signals into flags and a readable descriptor; the handlers do nothing else."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Self

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def exit_at_once() -> None:
    """Make a request to stop end this process with status 0, for as long as it has begun nothing that must be finished."""
    for number in _STOPPING:
        signal.signal(number, lambda *_: os._exit(0))


class Signals:
    """Signal flags and wake-up pipe of the main thread. Use as a context manager, once in a process.

    `stops` counts SIGTERM and SIGINT; SIGHUP sets `reload`. `wake_fd` becomes readable on a signal or `wake`. After the
    block these signals are ignored: a further request to stop must not change how the process ends.
    """

    def __init__(self) -> None:
        self.stops = 0
        self.reload = False
        self.wake_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        for number in (*_STOPPING, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (*_STOPPING, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
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
