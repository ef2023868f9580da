"""The pool's side of one decoder process: what it was given, and what became of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from daemon.media.protocol import DecodeOrder
from daemon.media.wire import Begin, Give, InheritedFd, Terms
from daemon.media.worker import main

#: Seconds a killed process is waited for. One that hangs in the kernel (a dead network share) takes longer,
#: but it has been killed and writes nothing any more.
_BURIAL_S = 1.0


class Child:
    """A decoder process. Fields belong to the pool's thread; only the pool changes them."""

    def __init__(self, arena_fd: int, terms: Terms, now: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        try:
            self._process = context.Process(
                target=main,
                args=(theirs, InheritedFd(arena_fd), terms),
                name="dropscribe-decoder",
                daemon=True,
            )
            self._process.start()
        except BaseException:
            self.pipe.close()
            raise
        finally:
            theirs.close()  # ours alone would keep the pipe open after its death
        self.order: DecodeOrder | None = None
        #: Slots it was given and has not handed over.
        self.held: set[int] = set()
        #: It asked for a slot and got none yet: its silence is our doing.
        self.starved = False
        #: Monotonic time of its latest sign of life, or of the latest thing it was given.
        self.alive_at = now
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

    def find_end(self) -> str:
        """How a process whose end of the pipe is closed came to its end, in words."""
        self._process.join(_BURIAL_S)  # the pipe closes a moment before the process is gone
        return _words(self._process.exitcode)

    def bury(self) -> None:
        """Kill it if it lives, and take it down."""
        self._process.kill()
        self._process.join(_BURIAL_S)
        self.pipe.close()
        if self._process.exitcode is not None:
            self._process.close()


def _words(exitcode: int | None) -> str:
    if exitcode is None:
        return "closed its pipe and did not end"
    if exitcode < 0:
        with contextlib.suppress(ValueError):  # a number without a name
            return f"was killed by {signal.Signals(-exitcode).name}"
        return f"was killed by signal {-exitcode}"
    return f"ended with status {exitcode}"
