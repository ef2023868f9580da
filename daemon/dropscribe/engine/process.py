"""Engine in a child process, the sole owner of its device."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dropscribe import children, logs
from dropscribe.children import InheritedFd, how_ended
from dropscribe.config import EngineSettings
from dropscribe.engine import worker
from dropscribe.engine.protocol import (
    SAMPLE_RATE_HZ,
    Abort,
    BlockFreed,
    Event,
    HeldModel,
    PcmBlock,
    StreamDone,
    StreamFailed,
)
from dropscribe.engine.wire import BATCHES_AHEAD, Aborted, FromChild, Held, Note, Ready, Refused, Report
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError
from dropscribe.transcript.types import EngineFacts

#: Time in which the process must end after its pipe was closed, seconds; then it is killed.
CLOSE_S = 5.0
#: Buffer size of the pipe of reports: the largest allowed to unprivileged users. It holds the results of a GPU's batch,
#: which are then read at once; with the default of 64 KiB reader and writer would wait for each other repeatedly.
PIPE_BYTES = 1 << 20
#: Time without a report after which `idle_s` checks for unread ones, seconds. Not checked earlier, because `idle_s` is
#: called a thousand times a second for each device.
GLANCE_S = 1.0


class ProcessEngine:
    """A `LocalEngine` in a child process. The constructor does not wait: call `wait_ready` before the first `submit`.

    Owned by one thread.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        arena_fd: int,
        arena_bytes: int,
        capacity_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Spawn the process.

        `arena_fd`: shared memory of the blocks, which the caller keeps open. `capacity_s`: most audio seconds in the
        engine that are not recognised yet. `clock`: must be the source of the times passed to `idle_s`.
        """
        self._capacity_s = capacity_s
        self._clock = clock
        self._log = logs.get("engine")
        self._facts: EngineFacts | None = None
        self._held: tuple[HeldModel, ...] = ()
        self._gone = False
        self._closed = False
        self._submitted = 0  #: samples
        self._released = 0  #: samples
        #: Streams with at least one submitted block that have not ended.
        self._streams: set[int] = set()
        #: Streams in `_streams` whose last block was submitted.
        self._complete: set[int] = set()
        #: Aborted streams for which events sent before the abort may still arrive.
        self._aborting: set[int] = set()
        #: Messages for the next `flush`.
        self._unsent: list[PcmBlock | Abort] = []
        self._progress_at = clock()
        commands_out, self._commands = multiprocessing.Pipe(duplex=False)
        self._reports, reports_in = multiprocessing.Pipe(duplex=False)
        with contextlib.suppress(OSError):  # the system may not allow this size
            fcntl.fcntl(self._reports.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        arena = worker.SharedArena(InheritedFd(arena_fd), arena_bytes)
        self._process = children.spawn(
            worker.main,
            (settings, arena, commands_out, reports_in),
            "dropscribe-engine",
            [commands_out, reports_in],
        )

    @property
    def facts(self) -> EngineFacts:
        """See `dropscribe.engine.protocol.LocalEngine`. Raises EngineError before it is ready."""
        if self._facts is None:
            raise EngineError(
                "not ready yet", operation="ask the engine for its facts", remedy="wait until it is ready"
            )
        return self._facts

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """See `dropscribe.engine.protocol.LocalEngine`."""
        return self._held

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for the warm-up; true once it is done.

        Raises EngineError if its models or device cannot be used (a retry would not help), EngineDiedError if the
        process ended without an error message.
        """
        deadline = time.monotonic() + timeout_s
        while self._facts is None:
            left = max(0.0, deadline - time.monotonic())
            if not self._has_report(left):
                return False
            match self._receive():
                case Ready(facts, batch_s):
                    self._facts = facts
                    self._capacity_s = max(self._capacity_s, BATCHES_AHEAD * batch_s)
                case Refused(reason, operation, path, remedy):
                    where = None if path is None else Path(path)
                    raise EngineError(reason, operation=operation, path=where, remedy=remedy)
                case Note(text):
                    logs.event(self._log, logs.Action.ENGINE, text)
                case Held(models):
                    self._held = models
                case None:
                    raise self._died(
                        "start engine",
                        "look for its last words on standard error or in the journal; memory, the driver and the model "
                        "are what it may die of",
                    )
        return True

    def submit(self, message: PcmBlock | Abort) -> None:
        """See `dropscribe.engine.protocol.Engine`."""
        if isinstance(message, PcmBlock):
            if not self._holds_work():
                self._progress_at = self._clock()
            self._submitted += message.samples
            self._streams.add(message.stream)
            if message.final:
                self._complete.add(message.stream)
        else:
            self._end(message.stream)
            self._aborting.add(message.stream)
        if self._gone:
            raise self._died()
        self._unsent.append(message)

    def flush(self) -> None:
        """See `dropscribe.engine.protocol.Engine`."""
        try:
            self._send()
        except OSError as e:
            raise self._died() from e

    def _send(self) -> None:
        """Send what was submitted. Raises OSError if the process is gone."""
        if self._unsent and not self._gone:
            messages, self._unsent = tuple(self._unsent), []
            # Not `send`: its pickler looks up a reducer for each object in Python and takes three times as long, which
            # matters at thousands of messages a second.
            self._commands.send_bytes(pickle.dumps(messages))

    def results(self, timeout_s: float) -> Sequence[Event]:
        """See `dropscribe.engine.protocol.Engine`."""
        with contextlib.suppress(OSError):  # it is gone: what has arrived is returned first
            self._send()
        events: list[Event] = []
        deadline = time.monotonic() + timeout_s
        while not self._gone:
            left = 0.0 if events else max(0.0, deadline - time.monotonic())
            if not self._has_report(left):
                return events
            match self._receive():
                case Report() as report:
                    events += self._sort(report)
                case Note(text):
                    logs.event(self._log, logs.Action.ENGINE, text)
                case Held(models):
                    self._held = models
                case None:
                    self._gone = True
        if not events:
            raise self._died()
        return events

    def capacity(self) -> float:
        """Audio seconds until `capacity_s` are submitted and not recognised; may fall below zero."""
        return self._capacity_s - (self._submitted - self._released) / SAMPLE_RATE_HZ

    def fileno(self) -> int:
        """See `dropscribe.engine.protocol.LocalEngine`."""
        return self._reports.fileno()

    def idle_s(self, now: float) -> float:
        """See `dropscribe.engine.protocol.LocalEngine`; an unread report counts as progress."""
        if self._gone or not self._holds_work():
            return 0.0
        idle_s = max(0.0, now - self._progress_at)
        return 0.0 if idle_s > GLANCE_S and self._has_report(0.0) else idle_s

    def close(self) -> None:
        """See `dropscribe.engine.protocol.Engine`."""
        if self._closed:
            return
        self._closed = True
        self._gone = True
        self._commands.close()
        self._process.join(CLOSE_S)
        if self._process.is_alive():
            self._process.kill()
            # With a time limit: a process blocked in an unresponsive driver does not end even when it is killed.
            self._process.join(CLOSE_S)
        self._reports.close()

    def _holds_work(self) -> bool:
        return self._submitted > self._released or bool(self._complete)

    def _has_report(self, timeout_s: float) -> bool:
        """True if a report is unread, or the pipe is closed, which `_receive` will then find."""
        try:
            return self._reports.poll(timeout_s)
        except (EOFError, OSError):
            return True

    def _receive(self) -> FromChild | None:
        """The next message; None if the process is gone."""
        try:
            message: FromChild = self._reports.recv()
        except (EOFError, OSError):
            self._gone = True
            return None
        self._progress_at = self._clock()
        return message

    def _sort(self, report: Report) -> list[Event]:
        """Update the counters from a report; returns its events without those of aborted streams."""
        self._released = report.released
        events: list[Event] = []
        for event in report.events:
            if isinstance(event, Aborted):
                self._aborting.discard(event.stream)
            elif isinstance(event, BlockFreed):
                events.append(event)
            elif event.stream not in self._aborting:
                if isinstance(event, (StreamDone, StreamFailed)):
                    self._end(event.stream)
                events.append(event)
        return events

    def _end(self, stream: int) -> None:
        self._streams.discard(stream)
        self._complete.discard(stream)

    def _died(
        self, operation: str = "recognise", remedy: str = "it is replaced, and its jobs are tried again"
    ) -> EngineDiedError:
        self._gone = True
        if not self._closed:
            self._process.join(CLOSE_S)
        code = self._process.exitcode
        lost = code == worker.DEVICE_LOST
        kind = DeviceFailedError if lost else EngineDiedError
        return kind(
            f"the engine process {how_ended(code).how}{' (its device failed)' if lost else ''}",
            operation=operation,
            remedy=remedy,
        )
