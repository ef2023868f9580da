"""Both ends of what the engine process has to do with its parent, each on a thread of its own: whoever turns the loop never
waits for a pipe.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

from dropscribe import escapes
from dropscribe.engine.protocol import Abort, PcmBlock
from dropscribe.engine.wire import FromChild


class PipeInbox(threading.Thread):
    """Drains the parent's pipe at all times, so that the parent never waits while a batch runs.

    It is also how the process notices that its parent is gone: the pipe ends, and so does the process,
    at once and whatever it is doing.
    """

    def __init__(self, commands: Connection) -> None:
        super().__init__(name="inbox", daemon=True)
        self._commands = commands
        self._arrived: queue.SimpleQueue[PcmBlock | Abort] = queue.SimpleQueue()

    def run(self) -> None:
        """Owns the pipe."""
        try:
            while True:
                self._arrived.put(self._commands.recv())
        except (EOFError, OSError):
            os._exit(0)
        finally:
            # Reached only when a message cannot be read: without this thread the process would be deaf.
            os._exit(1)

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """See `dropscribe.engine.core.scheduler.Inbox`."""
        messages = []
        try:
            messages.append(
                self._arrived.get(timeout=timeout_s) if timeout_s != 0 else self._arrived.get_nowait()
            )
            while True:
                messages.append(self._arrived.get_nowait())
        except queue.Empty:
            return messages


class PipeOutbox(threading.Thread):
    """Sends what is said, in order, while the loop goes on: a batch's results are more than a pipe holds, and a parent that
    is busy reads them late. What is unsent is bounded by what the parent lets the engine hold.
    """

    def __init__(self, reports: Connection) -> None:
        super().__init__(name="outbox", daemon=True)
        self._reports = reports
        self._said: queue.SimpleQueue[FromChild | None] = queue.SimpleQueue()

    def say(self, message: FromChild) -> None:
        """Never waits. Not after `finish`."""
        self._said.put(message)

    def finish(self, timeout_s: float) -> None:
        """Wait at most so long until all that was said is sent."""
        self._said.put(None)
        self.join(timeout_s)

    def run(self) -> None:
        """Owns the pipe."""
        try:
            while (message := self._said.get()) is not None:
                self._reports.send(message)
        except OSError:
            # The parent is gone; nobody wants results.
            os._exit(0)
        except BaseException:
            # Without this thread the process would be dumb.
            sys.stderr.write(escapes.lines(traceback.format_exc()))
            os._exit(1)
