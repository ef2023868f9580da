"""One decoder process as seen by the pool: its order, its slots, and how it ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dropscribe import children
from dropscribe.children import Ended, InheritedFd, how_ended
from dropscribe.media.protocol import DecodeOrder
from dropscribe.media.wire import Begin, Give, Terms
from dropscribe.media.worker import main

#: Time to wait for the end of a process that has closed its pipe, seconds; the pipe closes a moment before the end.
_EXIT_S = 1.0
#: Time to wait for the end of a killed process, seconds. One that is blocked in the kernel (by a dead network share)
#: takes longer, but writes nothing any more; the pool checks again later.
_KILLED_S = 0.2
#: Time without messages and CPU use after which a decoder counts as waiting for its file system, seconds.
DISK_S = 15.0
#: Time without messages after which the CPU use is first measured, seconds.
_PROBE_S = 1.0
#: Least share of that time spent on the CPU for a decoder that counts as computing.
_COMPUTING_SHARE = 0.05


class Child:
    """A decoder process. Owned by the pool's thread; only the pool changes its fields."""

    def __init__(self, arena_fd: int, terms: Terms, now: float) -> None:
        self.pipe: Connection
        self.pipe, theirs = multiprocessing.Pipe()
        try:
            arguments = (theirs, InheritedFd(arena_fd), terms)
            self._process = children.spawn(main, arguments, "dropscribe-decoder", [theirs])
        except BaseException:
            self.pipe.close()
            raise
        self.order: DecodeOrder | None = None
        #: Offsets of its slots that it has not delivered.
        self.held: set[int] = set()
        #: True while it waits for a slot, so that missing messages are not its fault.
        self.starved = False
        #: Time of the latest message from or to it, monotonic seconds.
        self.alive_at = now
        #: CPU time, seconds, at the first measurement after the message at `_probed_for`.
        self._spent_s = 0.0
        self._probed_for = -1.0
        self.ready = False
        self.files = 0
        self.first_private = 0

    @property
    def pid(self) -> int:
        """Process id; for people and tests."""
        return self._process.pid or 0

    def begin(self, order: DecodeOrder, slots: Sequence[int], now: float) -> bool:
        """Send an order with its first slots; false, without effect, if the process is gone."""
        try:
            self.pipe.send_bytes(pickle.dumps(Begin(order, tuple(slots))))
        except OSError:
            return False
        self.order = order
        self.held = set(slots)
        self.starved = False
        self.alive_at = now
        return True

    def give(self, slots: Sequence[int], now: float) -> None:
        """Send further slots. If the process is gone, they are returned by `release`."""
        assert self.order is not None
        self.held.update(slots)
        self.starved = self.starved and not slots
        self.alive_at = now
        with contextlib.suppress(OSError):  # the process is gone, which the next poll reports
            self.pipe.send_bytes(pickle.dumps(Give(self.order.ticket, tuple(slots))))

    def messages(self) -> tuple[Sequence[Any], bool]:
        """The next tuple of messages, and false if the process is gone. Call only if its pipe is readable."""
        try:
            messages = self.pipe.recv()
        except Exception:
            # EOFError or OSError: the process is gone. Other errors: invalid data, so it is treated as gone.
            return (), False
        return (messages, True) if isinstance(messages, tuple) else ((), False)

    def release(self) -> tuple[int, ...]:
        """End its order; returns the slots that were not delivered."""
        held = tuple(sorted(self.held))
        self.order, self.held, self.starved = None, set(), False
        return held

    def find_end(self) -> Ended:
        """Wait for the end of a process that has closed its pipe; returns how it ended."""
        self._process.join(_EXIT_S)
        return how_ended(self._process.exitcode)

    def waits_for_disk(self, now: float) -> bool:
        """True if it has neither sent anything nor computed for `DISK_S`: its file system does not respond.

        Call it regularly: CPU use is measured between calls.
        """
        silent_s = now - self.alive_at
        if silent_s < _PROBE_S:
            return False
        state, spent_s = _state_of(self.pid)
        if self._probed_for != self.alive_at:
            self._probed_for, self._spent_s = self.alive_at, spent_s
        computed = spent_s - self._spent_s > _COMPUTING_SHARE * silent_s
        # A process that is stopped by a signal ("T") or runnable ("R") does not wait for a disk.
        return silent_s >= DISK_S and state in {"D", "S"} and not computed

    def has_ended(self) -> bool:
        """Kill the process and close its pipe; false if it has not ended yet."""
        self._process.kill()
        self.pipe.close()
        return self.ended(_KILLED_S)

    def ended(self, wait_s: float = 0.0) -> bool:
        """True if the killed process has ended; waits at most `wait_s` seconds. Call it until it is true."""
        return children.is_gone(self._process, wait_s)


def _state_of(pid: int) -> tuple[str, float]:
    """State of a process (proc_pid_stat(5)) and its CPU time, seconds; ("", 0) if it is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0.0
    fields = line.rpartition(")")[2].split()  # the process name in parentheses may contain any characters
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
