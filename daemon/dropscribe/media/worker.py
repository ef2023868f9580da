"""Main function of a decoder child: decode one recording after another into shared memory.

The input may be hostile, so the process has limits on memory, files and core dumps, and exits at once when the pool's
end of the pipe is closed.

Large libraries are imported inside `main`, since the parent, which must not load them, imports this module.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from dropscribe.children import InheritedFd
from dropscribe.errors import DropscribeError, MediaLimitError, UnreadableMediaError
from dropscribe.media import confinement
from dropscribe.media.protocol import Opened, PartBegun, PcmReady, SlotWanted
from dropscribe.media.wire import Begin, Failed, Finished, FromChild, Give, Ready, Terms
from dropscribe.transcript.types import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dropscribe.media.sources.source import SourceFacts

#: Limit on open files of a child: its pipe, the arena, the recording twice, and those of Python.
_MAX_FILES = 64

#: Interval in which messages are collected and sent together, seconds: each read makes the pool's thread wait for the
#: GIL, which takes longer than handling the message.
HOLD_S = 0.005


def main(pool: Connection, arena_fd: InheritedFd, terms: Terms) -> None:
    """Serve the pool until its end of the pipe closes."""
    confinement.attach(pool.fileno(), "ds-decoder")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read when numpy is loaded; each such thread reserves address space
    import mmap  # noqa: PLC0415  see the module's docstring

    import numpy as np  # noqa: PLC0415  the same

    from dropscribe.media.sources import source_av, source_soundfile  # noqa: F401, PLC0415  loaded before the limits

    arena: NDArray[np.int16] = np.frombuffer(mmap.mmap(arena_fd.fd, 0), dtype=np.int16)
    os.close(arena_fd.fd)
    confinement.keep_memory()
    confinement.limit(terms.memory_mb << 20, _MAX_FILES)
    outbox = Outbox(pool)
    outbox.at_once(Ready(_private()))
    with contextlib.suppress(EOFError, OSError):  # the pool's end of the pipe is closed
        while True:
            message = pool.recv()
            if isinstance(message, Begin):
                _serve(message, outbox, pool, arena, terms)


def _serve(begin: Begin, outbox: Outbox, pool: Connection, arena: NDArray[np.int16], terms: Terms) -> None:
    from dropscribe.media.decode import Limits, decode  # noqa: PLC0415  see the module's docstring

    order = begin.order
    writer = SlotWriter(begin, outbox, pool, arena, terms.slot_bytes)
    started = time.monotonic()
    try:
        facts = decode(
            order.path,
            order.expected,
            Limits(terms.max_hours, order.track, order.channels),
            writer,
            order.folder,
            outputs=order.outputs,
        )
        writer.flush()
    except DropscribeError as e:
        leaving = isinstance(e.__cause__, MemoryError)
        outbox.at_once(_failed(order.ticket, e, leaving=leaving))
    except MemoryError:
        short = MediaLimitError(
            "a decoder ran out of memory", remedy="if the recording is sound, raise [media] memory_mb"
        )
        outbox.at_once(_failed(order.ticket, short, leaving=True))
    except Exception as e:
        # An error that no code expects comes from a library and this file, and a retry would end in the same way. The
        # process is replaced, because the state of the library is unknown.
        unexpected = UnreadableMediaError(
            f"its decoder failed in an unexpected way: {type(e).__name__}: {e}",
            remedy="convert the recording to wav and drop that; please report this message",
        )
        outbox.at_once(_failed(order.ticket, unexpected, leaving=True))
    else:
        spent = time.monotonic() - started - writer.waited_s
        outbox.at_once(Finished(order.ticket, facts, spent, _private()))


class Outbox:
    """Messages to the pool, in order. Those within `HOLD_S` of the latest transmission are sent together."""

    def __init__(self, pool: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: monotonic seconds."""
        self._pool = pool
        self._clock = clock
        self._held: list[FromChild] = []
        self._sent_at = -math.inf

    def soon(self, message: FromChild) -> None:
        """Queue a message; sent at once if `HOLD_S` has passed since the latest transmission, else with a later one."""
        self._held.append(message)
        if self._clock() - self._sent_at >= HOLD_S:
            self._send()

    def at_once(self, message: FromChild) -> None:
        """Send all queued messages and this one."""
        self._held.append(message)
        self._send()

    def _send(self) -> None:
        self._pool.send(tuple(self._held))
        self._held.clear()
        self._sent_at = self._clock()


class SlotWriter:
    """Sink that writes samples into the slots of one order and reports each full slot to the pool."""

    def __init__(
        self, begin: Begin, outbox: Outbox, pool: Connection, arena: NDArray[np.int16], slot_bytes: int
    ) -> None:
        self._ticket = begin.order.ticket
        self._slots = list(begin.slots)
        self._outbox = outbox
        self._pool = pool
        self._arena = arena
        self._slot_samples = slot_bytes // 2
        self._at = -1  # offset of the slot being filled, bytes
        self._filled = 0
        self.waited_s = 0.0

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        """Report the facts of the file to the pool."""
        declared_ms = round(declared_s * 1000) if declared_s is not None and 0 < declared_s < 1e9 else None
        self._outbox.soon(Opened(self._ticket, facts.container, facts.codec, declared_ms))

    def part(self, part: Part, at: int, count: int) -> None:
        """Report the begin of a part to the pool."""
        self._outbox.soon(PartBegun(self._ticket, part, at, count))

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Copy samples to the slots; waits for further slots if necessary."""
        done = 0
        while done < len(pcm):
            if self._at < 0:
                self._at = self._next_slot()
            count = min(len(pcm) - done, self._slot_samples - self._filled)
            start = self._at // 2 + self._filled
            self._arena[start : start + count] = pcm[done : done + count]
            done += count
            self._filled += count
            if self._filled == self._slot_samples:
                self.flush()

    def flush(self) -> None:
        """Deliver the slot being filled, unless it is empty."""
        if self._filled:
            self._outbox.soon(PcmReady(self._ticket, self._at, self._filled))
            self._at, self._filled = -1, 0

    def _next_slot(self) -> int:
        if not self._slots:
            since = time.monotonic()
            self._outbox.at_once(SlotWanted(self._ticket))
            while not self._slots:
                message: Any = self._pool.recv()
                if isinstance(message, Give) and message.ticket == self._ticket:
                    self._slots.extend(message.slots)
            self.waited_s += time.monotonic() - since
        return self._slots.pop(0)


def _failed(ticket: int, error: DropscribeError, *, leaving: bool) -> Failed:
    return Failed(ticket, error.code, error.reason, error.remedy, error.retryable, _private(), leaving)


def _private() -> int:
    """Resident private memory of this process, bytes; excludes the shared arena, all slots of which become resident."""
    return confinement.statm(1) - confinement.statm(2)
