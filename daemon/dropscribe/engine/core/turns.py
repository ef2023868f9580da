"""Let the threads of an engine process run one after another where they would only slow each other down.

Every launch of a kernel releases the interpreter's lock. A thread that makes texts takes it in that moment and keeps it
for milliseconds, and each such exchange also costs the waking of a thread: thousands for a batch. So the thread that
launches and those that make texts take turns: they are exchanged a few times for a batch, where it costs little.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

#: Longest wait for a turn, seconds. A turn lasts milliseconds, but for one that compiles kernels of a new model or waits for
#: room in the device's queue of launches, meanwhile without the interpreter.
LONGEST_S = 0.05


class Turns:
    """A lock whose owners get it in the order in which they asked. A context manager; not reentrant.

    Who has waited for `longest_s` goes on without it: turns save time, and nothing else depends on them.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._guard = threading.Lock()
        self._owner: int | None = None  #: a thread
        #: Threads that wait, in order, each with a locked lock.
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._owner is None:
                self._owner = me
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append((me, gate))
        if gate.acquire(timeout=self._longest_s):
            return
        with self._guard:
            # Unless the turn has come in this moment.
            if self._owner != me:
                self._waiting.remove((me, gate))

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._owner != threading.get_ident():
                return
            self._owner = None
            if self._waiting:
                self._owner, gate = self._waiting.popleft()
                gate.release()


#: Of this process, which has one interpreter.
TURNS = Turns()


@contextmanager
def launching(on: AbstractContextManager[Any] | None) -> Iterator[None]:
    """In this thread's turn and in `on`, which makes a CUDA stream the current one; on a CPU (None) in neither.

    There what would be launched is done at once, and others need not wait for it.
    """
    if on is None:
        yield
        return
    with TURNS, on:
        yield
