"""Receive commands from the parent process and send reports to it, on two threads.

Separate threads, so that the scheduler's thread never waits for a pipe.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection

from dropscribe import escapes
from dropscribe.engine.core.turns import TURNS
from dropscribe.engine.protocol import Abort, PcmBlock
from dropscribe.engine.wire import FromChild, Report

#: Shortest time between two transmissions to the parent, seconds: reports of this time are sent as one. Each costs the
#: parent's main thread a turn of its own, and thousands of recordings an hour depend on that thread.
HOLD_S = 0.005


def add(messages: list[FromChild], following: FromChild) -> None:
    """Append a message; two reports that follow each other become one."""
    last = messages[-1]
    if isinstance(last, Report) and isinstance(following, Report):
        messages[-1] = Report(last.events + following.events, following.released)
    else:
        messages.append(following)


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
                for message in self._commands.recv():
                    self._arrived.put(message)
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
        sent_at, more = -math.inf, True
        try:
            while more and (message := self._queued.get()) is not None:
                early_s = sent_at + HOLD_S - time.monotonic()
                if early_s > 0:
                    time.sleep(early_s)
                messages = [message]
                with contextlib.suppress(queue.Empty):
                    while more:
                        following = self._queued.get_nowait()
                        more = following is not None
                        if following is not None:
                            add(messages, following)
                sent_at = time.monotonic()
                for one in messages:
                    with TURNS:
                        # Not `send`, whose pickler takes three times as long.
                        packed = pickle.dumps(one)
                    self._reports.send_bytes(packed)
        except OSError:
            # The parent is gone, and no results are needed.
            os._exit(0)
        except BaseException:
            # Without this thread the process could not report results.
            sys.stderr.write(escapes.lines(traceback.format_exc()))
            os._exit(1)
