"""The pool's side of one decoder process: what it was given, and what became of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dropscribe import children
from dropscribe.children import Ended, InheritedFd, how_ended
from dropscribe.media.protocol import DecodeOrder
from dropscribe.media.wire import Begin, Give, Terms
from dropscribe.media.worker import main

#: Seconds a process is waited for that has closed its pipe, which happens a moment before its end.
_BURIAL_S = 1.0
#: Seconds a killed process is waited for. One that hangs in the kernel (a dead network share) takes longer,
#: but it has been killed and writes nothing any more; the pool asks again later.
_KILLED_S = 0.2
#: A decoder that has brought nothing for so long, seconds, and has not computed either waits for its file system.
DISK_S = 15.0
#: Silence after which it is first probed, seconds, and the share of the silence it must have computed to be at work.
_PROBE_S = 1.0
_COMPUTING_SHARE = 0.05


class Child:
    """A decoder process. Fields belong to the pool's thread; only the pool changes them."""

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
        #: Slots it was given and has not handed over.
        self.held: set[int] = set()
        #: It asked for a slot and got none yet: its silence is our doing.
        self.starved = False
        #: Monotonic time of its latest sign of life, or of the latest thing it was given.
        self.alive_at = now
        #: Processor time it had spent, seconds, when it was first probed after the sign of life at `_probed_for`.
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
        """Send an order; False when the process is gone, and nothing was taken."""
        try:
            self.pipe.send(Begin(order, tuple(slots)))
        except OSError:
            return False
        self.order = order
        self.held = set(slots)
        self.starved = False
        self.alive_at = now
        return True

    def give(self, slots: Sequence[int], now: float) -> None:
        """Send further slots. A process that is gone keeps them on its account until it is buried."""
        assert self.order is not None
        self.held.update(slots)
        self.starved = self.starved and not slots
        self.alive_at = now
        with contextlib.suppress(OSError):  # it is gone; its end is found, and told, by the next poll
            self.pipe.send(Give(self.order.ticket, tuple(slots)))

    def messages(self) -> tuple[Sequence[Any], bool]:
        """The oldest of what it said, and whether it is still there. Only once its pipe is readable."""
        try:
            said = self.pipe.recv()
        except Exception:
            # EOFError or OSError: it is gone. Anything else: it wrote nonsense, and is not to be trusted.
            return (), False
        return (said, True) if isinstance(said, tuple) else ((), False)

    def release(self) -> tuple[int, ...]:
        """End its order: returns the slots it still held."""
        held = tuple(sorted(self.held))
        self.order, self.held, self.starved = None, set(), False
        return held

    def find_end(self) -> Ended:
        """How a process whose end of the pipe is closed came to its end."""
        self._process.join(_BURIAL_S)
        return how_ended(self._process.exitcode)

    def waits_for_disk(self, now: float) -> bool:
        """Whether it has brought nothing for `DISK_S` and neither computed: a file system keeps it. To be asked now and then."""
        silent_s = now - self.alive_at
        if silent_s < _PROBE_S:
            return False
        state, spent_s = _state_of(self.pid)
        if self._probed_for != self.alive_at:
            self._probed_for, self._spent_s = self.alive_at, spent_s
        computed = spent_s - self._spent_s > _COMPUTING_SHARE * silent_s
        # One that was stopped by a signal ("T") or gets no processor ("R") waits for no disk.
        return silent_s >= DISK_S and state in {"D", "S"} and not computed

    def has_ended(self) -> bool:
        """Kill it if it lives, and take it down; False while it cannot end."""
        self._process.kill()
        self.pipe.close()
        return self.ended(_KILLED_S)

    def ended(self, wait_s: float = 0.0) -> bool:
        """Whether the killed process is gone; to be asked until it is."""
        return children.is_gone(self._process, wait_s)


def _state_of(pid: int) -> tuple[str, float]:
    """The state of a process (proc_pid_stat(5)) and the processor time it has spent, seconds; ("", 0) if it is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0.0
    fields = line.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
