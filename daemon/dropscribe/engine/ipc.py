"""Receive commands from the parent process and send reports to it, on two threads.

Separate threads, so that the scheduler's thread never waits for a pipe.
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
    """Thread that reads the parent's pipe at all times, so that the parent never waits while a batch runs.

    Ends the process at once when the pipe is closed, because the parent is then gone.
    """

    def __init__(self, commands: Connection) -> None:
        super().__init__(name="inbox", daemon=True)
        self._commands = commands
        self._arrived: queue.SimpleQueue[PcmBlock | Abort | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Read messages until the pipe is closed, then end the process. Owns the pipe."""
        try:
            while True:
                self._arrived.put(self._commands.recv())
        except (EOFError, OSError):
            os._exit(0)
        finally:
            # Reached only if a message cannot be unpickled: without this thread the process would get no commands.
            os._exit(1)

    def wake(self) -> None:
        """Let a waiting `take` return. May be called on any thread."""
        self._arrived.put(None)

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """See `dropscribe.engine.core.scheduler.Inbox`."""
        arrived: list[PcmBlock | Abort | None] = []
        try:
            arrived.append(
                self._arrived.get(timeout=timeout_s) if timeout_s != 0 else self._arrived.get_nowait()
            )
            while True:
                arrived.append(self._arrived.get_nowait())
        except queue.Empty:
            return [message for message in arrived if message is not None]


class PipeOutbox(threading.Thread):
    """Thread that sends messages to the parent, in order.

    The results of a batch may exceed the pipe's buffer, and a busy parent reads them late; the scheduler does not wait
    for that. The queue is bounded by the amount of work that the parent submits.
    """

    def __init__(self, reports: Connection) -> None:
        super().__init__(name="outbox", daemon=True)
        self._reports = reports
        self._queued: queue.SimpleQueue[FromChild | None] = queue.SimpleQueue()

    def say(self, message: FromChild) -> None:
        """Queue a message without waiting. Must not be called after `finish`."""
        self._queued.put(message)

    def finish(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` until all queued messages are sent."""
        self._queued.put(None)
        self.join(timeout_s)

    def run(self) -> None:
        """Send messages until `finish`. Owns the pipe."""
        try:
            while (message := self._queued.get()) is not None:
                self._reports.send(message)
        except OSError:
            # The parent is gone, and no results are needed.
            os._exit(0)
        except BaseException:
            # Without this thread the process could not report results.
            sys.stderr.write(escapes.lines(traceback.format_exc()))
            os._exit(1)
