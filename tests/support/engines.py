"""What tests of the engine have in common."""

from __future__ import annotations

import wave
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.core.interfaces import SAMPLES_PER_MS, Pcm, SpeechSegment
from dropscribe.engine.models import store
from dropscribe.engine.process import ProcessEngine
from dropscribe.engine.protocol import Abort, PcmBlock

#: Longest an engine may take to be ready, seconds: far above what it takes; only a hang reaches it.
READY_S = 240.0
#: Importing FunASR and its dependencies warns about their own use of old things …
FUNASR_WARNS = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "SyntaxWarning", "FutureWarning")
]
#: … and torch, where it compiles for a GPU.
ON_GPU = [pytest.mark.gpu, *FUNASR_WARNS, pytest.mark.filterwarnings("ignore::UserWarning")]


def sample() -> Pcm:
    """The bundled recording."""
    with wave.open(str(store.SAMPLE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def on_cpu(directory: Path) -> Any:
    """The model of a directory, loaded for one thread of the CPU."""
    import torch  # noqa: PLC0415 - takes seconds: only where a test runs it

    from dropscribe.engine.models.loading import load  # noqa: PLC0415

    torch.set_num_threads(1)
    return load(directory, torch.device("cpu"), 1)


class Script:
    """An inbox that was written beforehand."""

    def __init__(self, *messages: PcmBlock | Abort) -> None:
        self.messages = deque(messages)
        #: How long each call would have waited.
        self.timeouts: list[float | None] = []

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        self.timeouts.append(timeout_s)
        messages = list(self.messages)
        self.messages.clear()
        return messages


def segment(
    pcm: Pcm, stream: int = 0, index: int = 0, start_ms: int = 0, hotwords: tuple[str, ...] = ()
) -> SpeechSegment:
    """Speech with its samples, found at the instant 0."""
    end_ms = start_ms + len(pcm) // SAMPLES_PER_MS
    return SpeechSegment(stream, index, start_ms, end_ms, len(pcm), 0.0, hotwords, pcm)


def started(
    settings: EngineSettings, *, arena_fd: int, arena_bytes: int, capacity_s: float = 60.0
) -> ProcessEngine:
    """An engine process that is ready. Raises EngineError when it cannot be."""
    engine = ProcessEngine(settings, arena_fd=arena_fd, arena_bytes=arena_bytes, capacity_s=capacity_s)
    try:
        assert engine.wait_ready(READY_S), f"not ready after {READY_S:.0f} s"
    except BaseException:
        engine.close()
        raise
    return engine


def pid_of(engine: ProcessEngine) -> int:
    """The process to stop or kill."""
    return engine._process.pid or 0
