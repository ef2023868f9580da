"""Contenders of the comparison: each loads its models, then transcribes all recordings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dropscribe.bench.records import CALIBRATED, OURS, STOCK
from dropscribe.bench.stock_funasr import StockPlan, StockProcess
from dropscribe.config import Settings
from dropscribe.engine.models.store import SAMPLE
from dropscribe.errors import EngineError
from dropscribe.pipeline.attempt import Progress
from dropscribe.pipeline.oneshot import OneShot
from dropscribe.pipeline.problem import Problem


@dataclass(frozen=True, slots=True)
class Ended:
    """A recording was finished. Instants are monotonic seconds."""

    path: Path
    began: float
    ended: float
    text: str
    problem: str | None
    audio_s: float | None = None  #: if the contender reports it


@dataclass(frozen=True, slots=True)
class Heard:
    """The first text of any recording under way was recognised, at monotonic seconds."""

    at: float


class Contender(Protocol):
    """A way to transcribe. Owned by one thread; call `open`, `wait_ready`, `run`, and `close` in every case."""

    name: str
    options: dict[str, Any]
    devices: tuple[str, ...]

    def open(self, files: Sequence[Path]) -> int:
        """Start loading; returns the id of the process whose tree does the work."""
        ...

    def wait_ready(self) -> str:
        """Wait until it is ready; returns a description of the device. Raises EngineError."""
        ...

    def run(self) -> Iterator[Ended | Heard]:
        """Transcribe all recordings, each once. Raises EngineError if it cannot continue."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class Stock:
    """FunASR, one recording at a time."""

    def __init__(self, plan: StockPlan) -> None:
        self.name = CALIBRATED if plan.calibrated else STOCK
        self.options: dict[str, Any] = {
            "environment": plan.environment(),
            "AutoModel": plan.construction(),
            "generate": plan.generation(),
        }
        self.devices: tuple[str, ...] = (plan.device,)
        self._plan = plan
        self._files: list[Path] = []
        self._process: StockProcess | None = None

    def open(self, files: Sequence[Path]) -> int:
        """See `Contender`."""
        self._files = list(files)
        self._process = StockProcess(self._plan, self._files)
        return self._process.pid

    def wait_ready(self) -> str:
        """See `Contender`."""
        assert self._process is not None
        return self._process.wait_ready().device

    def run(self) -> Iterator[Ended | Heard]:
        """See `Contender`."""
        assert self._process is not None
        for end in self._process.results():
            yield Ended(self._files[end.index], end.began, end.ended, end.text, end.problem)

    def close(self) -> None:
        """See `Contender`."""
        if self._process is not None:
            self._process.close()


class Ours:
    """dropscribe's decoders and engine, all recordings concurrently."""

    name = OURS

    def __init__(self, settings: Settings, devices: tuple[str, ...]) -> None:
        self.options = {
            "precision": settings.engine.precision,
            "batch_s": settings.engine.batch_s,
            "decoders": settings.media.decoders,
        }
        self.devices = devices
        self._settings = settings
        self._files: list[Path] = []
        self._stack = ExitStack()
        self._engine: OneShot | None = None

    def open(self, files: Sequence[Path]) -> int:
        """See `Contender`."""
        self._files = list(files)
        return os.getpid()

    def wait_ready(self) -> str:
        """See `Contender`. Transcribes one recording, so that decoders are started, too."""
        self._engine = self._stack.enter_context(OneShot(self._settings))
        for warm in self._engine.transcribe([SAMPLE], lambda *_: None):
            if isinstance(warm.end, Problem):
                raise EngineError(warm.end.reason, operation="warm up", remedy=warm.end.remedy)
        facts = self._engine.facts
        return f"{facts.device}, {facts.precision}"

    def run(self) -> Iterator[Ended | Heard]:
        """See `Contender`."""
        assert self._engine is not None
        first: list[float] = []

        def progress(_: Path, state: Progress) -> None:
            if state.recognised_ms > 0 and not first:
                first.append(time.monotonic())

        for finished in self._engine.transcribe(self._files, progress):
            now = time.monotonic()
            if first:
                yield Heard(first[0])
            if isinstance(finished.end, Problem):
                yield Ended(finished.path, now, now, "", finished.end.reason)
            else:
                text = "\n".join(s.text for s in finished.end.segments)
                audio_s = finished.end.media.duration_ms / 1000
                began = now - finished.end.timings.wall_s
                yield Ended(finished.path, began, now, text, None, audio_s)

    def close(self) -> None:
        """See `Contender`."""
        self._stack.close()
