"""Inspections of recordings in limited child processes: no bytes of a recording are parsed in the daemon."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from dropscribe import children
from dropscribe.media.container import inspection

#: Longest inspection, seconds: it reads a few megabytes at most. Then its process is killed.
INSPECTION_S = 10.0
#: Longest start of a process, seconds; on a cold, busy disk Python takes long to load.
_START_S = 60.0
#: Processes kept for the next inspections; more exist only while several folders have files inspected at once.
_KEPT = 2


class Inspector:
    """Checks whether files hold all that their containers declare. Thread-safe; each caller waits for its own answer.

    The answer is None (unknown) when the file does not say, and when the inspection takes longer than `limit_s` or its process
    ends: that process is killed, and another takes its place. While a killed one cannot end, because the file system of its
    folder does not answer, inspections in that folder are None without being tried: at most one process hangs for each folder.
    """

    def __init__(
        self,
        limit_s: float = INSPECTION_S,
        target: Callable[[Connection], None] = inspection.main,
    ) -> None:
        """`target`: what the processes run."""
        self._limit_s = limit_s
        self._target = target
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        #: Killed processes that have not ended yet, by the folder they hang in.
        self._hung: dict[Path, _Child] = {}
        self._closed = False

    def start(self) -> None:
        """Start one process ahead, so that the first inspection need not wait for it."""
        with contextlib.suppress(OSError):  # said by the decoders, without which nothing works
            self._keep(_Child(self._target))

    def whole(self, folder: Path, path: Path) -> bool | None:
        """True: all that is declared is there. False: cut, or still arriving. None: unknown."""
        answers = self._inspect(folder, [path])
        return None if answers is None else answers[0]

    def whole_each(self, folder: Path, paths: Sequence[Path]) -> Iterator[bool | None]:
        """The same of several files in turn, in one exchange: in a busy daemon a process is waited for long.

        Where that fails or takes longer than one inspection may, each is inspected by itself, as its answer is asked for.
        """
        answers = self._inspect(folder, paths) if len(paths) > 1 else None
        yield from (self.whole(folder, path) for path in paths) if answers is None else answers

    def _inspect(self, folder: Path, paths: Sequence[Path]) -> list[bool | None] | None:
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
        meaning = {inspection.WHOLE: True, inspection.CUT: False}
        return [meaning.get(bytes((answer,))) for answer in answers]

    def close(self) -> bool:
        """End the processes, never waiting for one that hangs; False when one does."""
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
        """A process that nobody else uses. Raises OSError when the system gives none."""
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
        """A byte for each path; None when they do not come in time, or the process is gone."""
        try:
            if not self._ready:
                self._ready = self._receive(1, _START_S) == inspection.READY
            if not self._ready:
                return None
            self._pipe.send((folder, paths))
            answers = self._receive(len(paths), limit_s)
        except (OSError, EOFError):
            return None
        return answers if answers is not None and len(answers) == len(paths) else None

    def alive(self) -> bool:
        """Whether it still runs; one may be killed from outside while it has nothing to do."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill the process. It ends at once, unless it waits for a file system in a way that cannot be interrupted."""
        self._process.kill()
        self._pipe.close()

    def ended(self) -> bool:
        """Whether the killed process is gone, which takes the kernel a moment."""
        return children.is_gone(self._process, 0.1)

    def _receive(self, most: int, limit_s: float) -> bytes | None:
        return self._pipe.recv_bytes(most) if self._pipe.poll(limit_s) else None
