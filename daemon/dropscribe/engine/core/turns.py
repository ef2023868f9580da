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


class Turns:
    """A lock whose owners get it in the order in which they asked. A context manager; not reentrant.

    Held for milliseconds, never while waiting for the device or for another thread.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        #: A locked lock for each thread that waits, in order.
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        # Released by the owner before, which hands its turn on.
        mine.acquire()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


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
