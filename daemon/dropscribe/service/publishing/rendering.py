"""Render transcripts in processes of their own where there are cores for them, else in the calling thread."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dropscribe import children, logs
from dropscribe.ledger.columns import SegmentRows
from dropscribe.pipeline.sizing import renderer_count
from dropscribe.service.publishing.rendering_child import main
from dropscribe.transcript import render
from dropscribe.transcript.types import Transcript

#: Longest time for a transcript, seconds. One of a whole day takes some 10 s.
LONGEST_S = 120.0
#: Time before another process is started in the place of one that ended, seconds.
RESTART_S = 10.0
#: Time to wait for the end of a process, seconds.
_END_S = 1.0


class Made(NamedTuple):
    """What was made of a transcript: its files by format, and the rows of its segments, None: to be made by the ledger."""

    files: dict[str, bytes]
    segment_rows: SegmentRows | None


class Rendering:
    """Renders transcripts. `render_all` may be called by several threads at once."""

    def __init__(self, processes: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`processes`: None for as many as suit this machine; 0: the calling thread renders."""
        self.processes = renderer_count() if processes is None else processes
        self._clock = clock
        self._log = logs.get("service")
        #: Those whose process has nothing to do, or that have none.
        self._idle: queue.SimpleQueue[_Place] = queue.SimpleQueue()
        self._places = [_Place() for _ in range(self.processes)]
        self._closing = threading.Event()

    def start(self) -> None:
        """Start the processes; it takes them half a second, for which transcripts are rendered here."""
        for place in self._places:
            self._start(place)
            self._idle.put(place)

    def close(self) -> None:
        """End the processes; one that a thread still waits for ends after that."""
        self._closing.set()
        idle = []
        with contextlib.suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for place in idle:
            if place.child is not None:
                place.child.end()
                place.child = None
            # A thread may wait for it: it renders itself.
            self._idle.put(place)

    def render_all(self, transcript: Transcript, formats: Sequence[str], options: render.Options) -> Made:
        """As `dropscribe.transcript.render.render_all`, also if a process dies or hangs meanwhile."""
        if self._places and not self._closing.is_set():
            place = self._idle.get()
            try:
                made = self._by(place, transcript, formats, options)
            finally:
                self._idle.put(place)
                if self._closing.is_set():
                    self.close()
            if made is not None:
                return made
        return Made(render.render_all(transcript, formats, options), None)

    def _by(
        self, place: _Place, transcript: Transcript, formats: Sequence[str], options: render.Options
    ) -> Made | None:
        """Rendered by a process; None if it cannot."""
        if place.child is None and self._clock() >= place.start_at and not self._closing.is_set():
            self._start(place)
        if place.child is None or not place.child.is_ready():
            return None
        try:
            return place.child.ask(transcript, formats, options)
        except (OSError, EOFError) as e:
            how = place.child.end()
            place.child, place.start_at = None, self._clock() + RESTART_S
            why = "took too long and was stopped" if isinstance(e, TimeoutError) else how
            logs.problem(
                self._log, logs.Action.STORAGE,
                f"a process that renders transcripts {why}: its transcript is rendered in the daemon",
            )  # fmt: skip
            return None

    def _start(self, place: _Place) -> None:
        place.start_at = self._clock() + RESTART_S
        # Without a process, as when the system has none left, the daemon renders.
        with contextlib.suppress(OSError):
            place.child = _Child()


class _Place:
    """The place of one process. Used by one thread at a time."""

    def __init__(self) -> None:
        self.child: _Child | None = None
        #: When another one may be started, monotonic seconds.
        self.start_at = 0.0


class _Child:
    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._pipe, theirs = multiprocessing.Pipe()
        try:
            self._process = children.spawn(main, (theirs,), "dropscribe-render", [theirs])
        except BaseException:
            self._pipe.close()
            raise
        self._ready = False
        # Not `poll` of the pipe, which makes a selector each time.
        self._answer = select.poll()
        self._answer.register(self._pipe.fileno(), select.POLLIN)

    def is_ready(self) -> bool:
        """False while it starts; also true of one that died meanwhile, which `ask` finds."""
        if not self._ready and self._pipe.poll():
            with contextlib.suppress(OSError, EOFError):
                self._pipe.recv()
            self._ready = True
        return self._ready

    def ask(self, transcript: Transcript, formats: Sequence[str], options: render.Options) -> Made | None:
        """None if it raised an error. Raises OSError and EOFError if it is gone, TimeoutError if it does not answer."""
        # Not `send`, whose pickler takes three times as long.
        self._pipe.send_bytes(pickle.dumps((transcript, formats, options)))
        if not self._answer.poll(LONGEST_S * 1000):
            raise TimeoutError
        made: tuple[dict[str, bytes], SegmentRows] | None = self._pipe.recv()
        return None if made is None else Made(*made)

    def end(self) -> str:
        """End it; returns how it ended by itself, in words."""
        self._pipe.close()
        self._process.join(_END_S)
        how = children.how_ended(self._process.exitcode).how
        self._process.kill()
        children.is_gone(self._process, _END_S)
        return how
