"""Helpers for tests of the engine."""

from __future__ import annotations

import time
import wave
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine import registry
from dropscribe.engine.core.interfaces import SAMPLES_PER_MS, Pcm, Recogniser, SpeechSegment
from dropscribe.engine.core.model_cache import ModelCache
from dropscribe.engine.core.routing import Router
from dropscribe.engine.core.scheduler import Scheduler
from dropscribe.engine.core.streams import NOTHING
from dropscribe.engine.models import store
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import Abort, PcmBlock, StreamOptions
from dropscribe.transcript.types import EngineFacts

#: Time limit for the start of an engine, seconds; only a hang reaches it.
READY_S = 240.0
#: Warnings of FunASR and its dependencies about their own deprecated imports.
FUNASR_WARNS = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "SyntaxWarning", "FutureWarning")
]
#: The same, and those of torch when it compiles for a GPU.
ON_GPU = [pytest.mark.gpu, *FUNASR_WARNS, pytest.mark.filterwarnings("ignore::UserWarning")]


def sample() -> Pcm:
    """The bundled recording."""
    with wave.open(str(store.SAMPLE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def on_cpu(directory: Path) -> Any:
    """Load the model of a directory for one CPU thread."""
    import torch  # noqa: PLC0415 - takes seconds: only where a test runs it

    from dropscribe.engine.models.loading import load  # noqa: PLC0415

    torch.set_num_threads(1)
    return load(directory, torch.device("cpu"), 1)


class Script:
    """An inbox with predefined messages."""

    def __init__(self, *messages: PcmBlock | Abort) -> None:
        self.messages = deque(messages)
        #: Timeout of each call, seconds.
        self.timeouts: list[float | None] = []

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        self.timeouts.append(timeout_s)
        messages = list(self.messages)
        self.messages.clear()
        return messages


def turn_until_done(
    loop: Scheduler, script: Script, streams: Sequence[int], longest_s: float = 300.0
) -> None:
    """Turn a scheduler until it has reported the ends of all these streams, which the device needs time for."""
    until = time.monotonic() + longest_s
    loop.turn(script)
    while any(loop.handles(stream) for stream in streams):
        assert time.monotonic() < until, "not done in time"
        loop.turn(script)


def segment(
    pcm: Pcm, stream: int = 0, index: int = 0, start_ms: int = 0, hotwords: tuple[str, ...] = ()
) -> SpeechSegment:
    """A speech segment with its samples that starts at 0 ms."""
    end_ms = start_ms + len(pcm) // SAMPLES_PER_MS
    return SpeechSegment(stream, index, start_ms, end_ms, len(pcm), 0.0, StreamOptions(hotwords), pcm)


def started(
    settings: EngineSettings, *, arena_fd: int, arena_bytes: int, capacity_s: float = 60.0
) -> ProcessEngine:
    """Start an engine process and wait until it is ready. Raises EngineError."""
    engine = ProcessEngine(settings, arena_fd=arena_fd, arena_bytes=arena_bytes, capacity_s=capacity_s)
    try:
        assert engine.wait_ready(READY_S), f"not ready after {READY_S:.0f} s"
    except BaseException:
        engine.close()
        raise
    return engine


def pid_of(engine: ProcessEngine) -> int:
    """Process id of an engine."""
    return engine._process.pid or 0


@dataclass(frozen=True)
class Assembled:
    """What an engine process has loaded when it is ready."""

    recogniser: Recogniser
    facts: EngineFacts
    batch_s: float
    roles: set[str]  #: of the models that are loaded


def assembled(settings: EngineSettings, note: Callable[[str], None] = lambda _: None) -> Assembled:
    """Load the models of an engine in this process. Raises EngineError."""
    loader = registry.ModelLoader(settings, note)
    cache = ModelCache(loader, clock=time.monotonic, note=note)
    router = Router(
        cache, loader, default=settings.default_set, max_wait_s=1.0, read=lambda _: NOTHING,
        send=lambda _: None, clock=time.monotonic, note=note,
    )  # fmt: skip
    used, batch_s = router.preload(settings.sets)
    (route,) = router._routes.values()
    return Assembled(route.recogniser, loader.facts(used), batch_s, {one.role for one in cache.held()})
