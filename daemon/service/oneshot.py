"""Transcribe given files once, through the same decoders, engine and assembly as the daemon; no ledger."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Settings
from daemon.errors import EngineDiedError
from daemon.media.pool import DecoderPool
from daemon.service.arena import SLOT_BYTES, Arena
from daemon.service.assembly import Result
from daemon.service.daemon import audio_bounds, decoder_count
from daemon.service.engine_keeper import EngineKeeper
from daemon.service.pump import Progress, Pump, Work
from daemon.service.retry import Problem
from daemon.transcript.types import EngineFacts


@dataclass(frozen=True, slots=True)
class Finished:
    """How one file ended."""

    path: Path
    end: Result | Problem


class OneShot:
    """A pump of its own for a handful of files. Use as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> OneShot:
        arena_s, capacity_s = audio_bounds(self._settings)
        with ExitStack() as stack:
            arena = Arena(arena_s)
            stack.callback(arena.close)
            self._keeper = EngineKeeper(self._settings.engine, arena, capacity_s)
            stack.callback(self._keeper.close)
            decoders = DecoderPool(
                arena.fd,
                SLOT_BYTES,
                workers=decoder_count(self._settings),
                settings=self._settings.media,
                clock=time.monotonic,
            )
            stack.callback(decoders.close)
            self._keeper.wait_ready(lambda: False)
            self._pump = Pump(decoders, self._keeper.engine, arena, time.monotonic)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def facts(self) -> EngineFacts:
        """What recognises."""
        return self._keeper.engine.facts

    def transcribe(self, paths: list[Path], progress: Callable[[Path, Progress], None]) -> Iterator[Finished]:
        """Each file once, in the order they finish. An engine that dies fails what was in it, once."""
        waiting = deque(enumerate(paths))
        running: dict[int, Path] = {}
        while waiting or running:
            while waiting and self._pump.room():
                ticket, path = waiting.popleft()
                running[ticket] = path
                self._pump.start(Work(ticket, path, None))
            try:
                outcomes = self._pump.turn(0.1)
            except EngineDiedError as e:
                for ticket in self._pump.abandon_engine():
                    yield Finished(running.pop(ticket), Problem(e.code, e.reason, e.remedy))
                self._keeper.replace(e.reason)
                self._keeper.wait_ready(lambda: False)
                self._pump.use_engine(self._keeper.engine)
                continue
            for ticket, path in running.items():
                state = self._pump.progress(ticket)
                if state is not None:
                    progress(path, state)
            for outcome in outcomes:
                yield Finished(running.pop(outcome.ticket), outcome.end)
