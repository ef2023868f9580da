"""Inspect recordings in resource-limited child processes: the daemon itself parses no bytes of a recording."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path

from dropscribe import children
from dropscribe.media.container import inspection

#: Time limit of an inspection, seconds; then its process is killed. It reads a few megabytes at most.
INSPECTION_S = 10.0
#: Time limit for the start of a process, seconds: Python loads slowly from a cold, busy disk.
_START_S = 60.0
#: Processes kept idle for the next inspections; more run only while several folders inspect at once.
_KEPT = 2


class Inspected(Enum):
    """Result of an inspection."""

    WHOLE = "whole"  #: all declared bytes are there
    CUT = "cut"  #: truncated, or still arriving
    TEXT = "text"  #: a text file, with an extension that is also one of text
    UNKNOWN = "unknown"


_ANSWERS = {
    inspection.WHOLE: Inspected.WHOLE,
    inspection.CUT: Inspected.CUT,
    inspection.TEXT: Inspected.TEXT,
}


class Inspector:
    """Check whether files have all the bytes that their containers declare. Thread-safe; calls block.

    The answer is UNKNOWN if the container does not declare its size, or if the inspection takes longer than
    `limit_s` or its process dies; that process is killed and replaced. While a killed process cannot end, because the
    file system of its folder does not respond, inspections in that folder return UNKNOWN at once, so at most one process
    hangs per folder.
    """

    def __init__(
        self,
        limit_s: float = INSPECTION_S,
        target: Callable[[Connection], None] = inspection.main,
    ) -> None:
        """`target`: main function of the processes."""
        self._limit_s = limit_s
        self._target = target
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        #: Killed processes that have not ended yet, by the folder whose file system blocks them.
        self._hung: dict[Path, _Child] = {}
        self._closed = False

    def start(self) -> None:
        """Start one process in advance, so that the first inspection does not wait for it."""
        with contextlib.suppress(OSError):  # the same failure is reported when decoders are started
            self._keep(_Child(self._target))

    def inspect(self, folder: Path, path: Path) -> Inspected:
        """Inspect one file."""
        answers = self._inspect(folder, [path])
        return Inspected.UNKNOWN if answers is None else answers[0]

    def inspect_each(self, folder: Path, paths: Sequence[Path]) -> Iterator[Inspected]:
        """As `inspect` for several files in order, in one exchange: in a busy daemon each exchange waits long.

        If that fails or takes longer than one inspection may, each file is inspected on its own when its answer is
        consumed.
        """
        answers = self._inspect(folder, paths) if len(paths) > 1 else None
        yield from (self.inspect(folder, path) for path in paths) if answers is None else answers

    def _inspect(self, folder: Path, paths: Sequence[Path]) -> list[Inspected] | None:
        if self._hangs(folder):
            return None
        try:
            child = self._take()
        except OSError:
            return None
        answers = child.ask(folder, paths, self._limit_s)
        if answers is None:
            child.kill()
            if not child.ended():
                with self._lock:
                    self._hung[folder] = child
            return None
        self._keep(child)
        return [_ANSWERS.get(bytes((answer,)), Inspected.UNKNOWN) for answer in answers]

    def close(self) -> bool:
        """End the processes without waiting for one that hangs; False if one does."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            hung = list(self._hung.values())
        for child in idle:
            child.kill()
        return not [child for child in (*idle, *hung) if not child.ended()]

    def _hangs(self, folder: Path) -> bool:
        with self._lock:
            child = self._hung.get(folder)
            if child is None:
                return False
            if not child.ended():
                return True
            del self._hung[folder]
        return False

    def _take(self) -> _Child:
        """An idle process, or a new one, for exclusive use. Raises OSError if none can be started."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.alive():
                    return child
                child.kill()
        return _Child(self._target)

    def _keep(self, child: _Child) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT:
                self._idle.append(child)
                return
        child.kill()


class _Child:
    """One inspection process; used by one thread at a time."""

    def __init__(self, target: Callable[[Connection], None]) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        try:
            self._process = children.spawn(target, (theirs,), "dropscribe-inspect", [theirs])
        except BaseException:
            self._pipe.close()
            raise
        self._ready = False

    def ask(self, folder: Path, paths: Sequence[Path], limit_s: float) -> bytes | None:
        """Inspect files: one byte per path; None after `limit_s` seconds, or if the process is gone."""
        try:
            if not self._ready:
                self._ready = self._receive(1, _START_S) == inspection.READY
            if not self._ready:
                return None
            # Not `send`, whose pickler takes three times as long.
            self._pipe.send_bytes(pickle.dumps((folder, paths)))
            answers = self._receive(len(paths), limit_s)
        except (OSError, EOFError):
            return None
        return answers if answers is not None and len(answers) == len(paths) else None

    def alive(self) -> bool:
        """True while the process runs; an idle one may be killed from outside."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill the process. It ends at once unless it is in an uninterruptible wait for a file system."""
        self._process.kill()
        self._pipe.close()

    def ended(self) -> bool:
        """True if the killed process has ended; waits up to 0.1 s for that."""
        return children.is_gone(self._process, 0.1)

    def _receive(self, most: int, limit_s: float) -> bytes | None:
        return self._pipe.recv_bytes(most) if self._pipe.poll(limit_s) else None
