"""Processes that decode excerpts for the player: one for each excerpt, and one that waits, because a start takes a second."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading

from dropscribe import children
from dropscribe.children import InheritedFd
from dropscribe.files import close
from dropscribe.media.protocol import Excerpt
from dropscribe.web.sound.child import main

#: Most excerpts at a time. Beyond, the oldest one ends; a browser asks anew from where it is.
MOST = 8
#: Time to wait for the end of a killed process, seconds.
_KILLED_S = 0.2


class Decoding:
    """A process that decodes one excerpt. `samples`: descriptor of the pipe it writes into, for one reader."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self.samples, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            self._orders, end = multiprocessing.Pipe()
            self._process = children.spawn(main, (end, InheritedFd(theirs)), "dropscribe-sound", [end])
        except BaseException:
            close(self.samples)
            raise
        finally:
            close(theirs)

    def begin(self, excerpt: Excerpt) -> None:
        """Give it its order. Raises OSError if it is gone."""
        self._orders.send(excerpt)

    @property
    def is_alive(self) -> bool:
        """False if it ended while it waited."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process; its reader finds the end of the pipe."""
        self._process.kill()

    def close(self) -> None:
        """End the process and release the pipe; for its reader."""
        self._process.kill()
        close(self.samples)
        self._orders.close()
        children.is_gone(self._process, _KILLED_S)


class SoundPool:
    """Starts and ends these processes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Decoding | None = None
        self._busy: list[Decoding] = []
        self._closed = False

    def begin(self, excerpt: Excerpt) -> Decoding:
        """Decode an excerpt; the caller gives it back with `end`. Raises OSError if no process can be started."""
        with self._lock:
            found, self._waiting = self._waiting, None
            if len(self._busy) >= MOST:
                self._busy.pop(0).kill()
        if found is not None and not found.is_alive:
            found.close()
            found = None
        if found is None:
            found = Decoding()
        with self._lock:
            self._busy.append(found)
        found.begin(excerpt)
        return found

    def end(self, decoding: Decoding) -> None:
        """Release an excerpt that is heard no more; another process waits for the next one then."""
        with self._lock:
            if decoding in self._busy:
                self._busy.remove(decoding)
        decoding.close()

    @property
    def busy(self) -> int:
        """Number of excerpts that are being decoded."""
        with self._lock:
            return len(self._busy)

    def prepare(self) -> None:
        """Let a process wait for the next excerpt."""
        with self._lock:
            if self._waiting is not None or self._closed:
                return
        with contextlib.suppress(OSError):
            new: Decoding | None = Decoding()
            with self._lock:
                if not self._closed:
                    self._waiting, new = new, self._waiting
            if new is not None:
                new.close()

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, None
            for decoding in self._busy:
                decoding.kill()
        if waiting is not None:
            waiting.close()
