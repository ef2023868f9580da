"""A station in a child process of the daemon: its main function, and the daemon's link to it."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import multiprocessing
import os
import pickle
import queue
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

from dropscribe import children, escapes, logs
from dropscribe.children import Killed, how_ended
from dropscribe.config import Settings
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.local.frames import FrameReceiver, FrameSender, read_frame, write_frame
from dropscribe.pipeline.local.local_executor import LocalExecutor
from dropscribe.pipeline.stations.hosted_station import NEAR, HostedStation
from dropscribe.pipeline.stations.remote_station import Answer

#: Size of the pipes: the largest allowed to unprivileged users. A report of a busy station has hundreds of kilobytes.
PIPE_BYTES = 1 << 20
#: Longest wait of a report for news, seconds: an idle station is heard so often.
HEARTBEAT_S = 1.0
#: Time to wait for the exit status of a process that has closed its pipe, seconds.
EXIT_S = 1.0
#: Switch interval of the interpreter and allocations between two garbage collections, as in the daemon.
SWITCH_S, GARBAGE = 0.0001, 50_000

#: What the daemon sends: orders; a question for the next report with the number of the newest outcome that it has, and orders.
#: What it gets: that the process runs; that orders were taken; a report.
_FEED, _ASK, _RUNS, _FED, _REPORT = b"F", b"A", b"R", b"T", b"S"
_CONFIRMED = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class StationPlan:
    """What a station's process is started with. `name`: its device; `cpus`: those it may use, None for all."""

    name: str
    settings: Settings
    cpus: frozenset[int] | None = None


def main(
    plan: StationPlan,
    executor: Callable[[Settings], Executor],
    json_lines: bool,
    commands: Connection,
    reports: Connection,
) -> None:
    """Entry point of the spawned process; it ends when the daemon does, or is killed by it. `json_lines`: of the log."""
    children.set_up("ds-station")
    if plan.cpus is not None:
        with contextlib.suppress(OSError):  # they were taken away meanwhile
            os.sched_setaffinity(0, plan.cpus)
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(GARBAGE, 20, 20)
    logs.setup(json_lines=json_lines, level=plan.settings.service.log_level)
    station = HostedStation(partial(executor, plan.settings), pacing=NEAR, name=plan.name)
    sending = threading.Lock()

    def say(kind: bytes, message: bytes = b"") -> None:
        with sending:
            write_frame(reports.fileno(), kind + message)

    asked: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()

    def answer() -> None:
        with contextlib.suppress(OSError):  # the daemon is gone, which ends the loop below, too
            while True:
                confirmed, orders = asked.get()
                given = pickle.loads(orders) if orders else None
                say(_REPORT, pickle.dumps(station.report(confirmed, given, HEARTBEAT_S)))

    threading.Thread(target=answer, name="reports", daemon=True).start()
    try:
        say(_RUNS)
        while True:
            message = read_frame(commands.fileno())
            if message[:1] == _FEED:
                station.feed(pickle.loads(message[1:]))
                say(_FED)
            else:
                (confirmed,) = _CONFIRMED.unpack_from(message, 1)
                asked.put((confirmed, message[1 + _CONFIRMED.size :]))
    except (EOFError, OSError):
        # The daemon is gone, and nobody wants the results. Its engine and decoders end with it, also those that are stopped.
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)
    except BaseException:
        sys.stderr.write(escapes.lines(traceback.format_exc()))
        os._exit(1)


class ChildLink:
    """`Link` to a station in a child process. Owned by the daemon's main thread; never waits for the process."""

    def __init__(self, plan: StationPlan, executor: Callable[[Settings], Executor] = LocalExecutor) -> None:
        """Start the process. `executor`: what does the work there; must be a function or class of a module.

        Raises OSError when the operating system gives no process.
        """
        commands_out, self._commands = multiprocessing.Pipe(duplex=False)
        self._reports, reports_in = multiprocessing.Pipe(duplex=False)
        for end in (self._commands, self._reports):
            with contextlib.suppress(OSError):  # the system may not allow this size
                fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._to, self._from = FrameSender(self._commands.fileno()), FrameReceiver(self._reports.fileno())
        #: By kind of the answer: who waits for it.
        self._asked: dict[bytes, Answer] = {}
        self._killed: Killed | None = None
        ends = [commands_out, reports_in]
        self._process = children.spawn(
            main, (plan, executor, logs.are_json(), *ends), "dropscribe-station", ends, spawns=True
        )

    @property
    def pid(self) -> int:
        """Process id; for people and tests."""
        return self._process.pid or 0

    @property
    def pending(self) -> bool:
        """True if the process does not read what it was sent."""
        return self._to.pending

    def fileno(self) -> int:
        """Descriptor that is readable when `hear` has answers to give."""
        return self._reports.fileno()

    def examine(self, answer: Answer) -> None:
        """See `Link`: the answer says only that the process runs."""
        self._asked[_RUNS] = answer

    def feed(self, orders: bytes, answer: Answer) -> None:
        """See `Link`."""
        self._asked[_FED] = answer
        self._send(_FEED + orders)

    def report(self, confirmed: int, orders: bytes, answer: Answer) -> None:
        """See `Link`."""
        self._asked[_REPORT] = answer
        self._send(_ASK + _CONFIRMED.pack(confirmed) + orders)

    def kill(self) -> None:
        """See `Link`; its engine and decoders are killed, too."""
        if self._killed is None:
            self._killed = Killed(self._process)
            self._asked.clear()
            self._commands.close()
            self._reports.close()

    def gone(self, wait_s: float = 0.0) -> bool:
        """Wait at most so long for the end of its killed processes; call it until True."""
        return self._killed is not None and self._killed.gone(wait_s)

    def hear(self) -> None:
        """Give the answers that have arrived, and send what could not be sent before."""
        if self._killed is not None:
            return
        self._send(None)
        for message in self._from.receive():
            answer = self._asked.pop(message[:1], None)
            if answer is not None:
                answer(((), (), "") if message[:1] == _RUNS else memoryview(message)[1:], None)
            if self._reports.closed:  # it was killed for what it said
                return
        if self._from.ended:
            self._process.join(EXIT_S)
            error = RuntimeError(f"its process {how_ended(self._process.exitcode).how}")
            asked, self._asked = self._asked, {}
            for answer in asked.values():
                answer(None, error)

    def _send(self, message: bytes | None) -> None:
        # If it is gone, `hear` finds that out.
        with contextlib.suppress(OSError):
            if message is None:
                self._to.flush()
            else:
                self._to.send(message)
