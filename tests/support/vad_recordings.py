"""Recordings for tests of the VAD on a GPU."""

from __future__ import annotations

import wave

import numpy as np

from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.models import store


def recordings() -> list[Pcm]:
    """Speech with pauses at several levels, cut at irregular positions."""
    with wave.open(str(store.SAMPLE)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    rng = np.random.default_rng(7)
    made = []
    for i in range(24):
        pause = rng.integers(-20, 20, size=int(rng.uniform(0.1, 3.0) * 16_000)).astype(np.int16)
        cut = int(rng.uniform(0, len(said) // 2))
        soft = (said[cut:].astype(np.float32) * rng.uniform(0.05, 1.0)).astype(np.int16)
        made.append(np.concatenate([pause, soft, pause[: i * 100], said])[: 160 * 3_000 + 37 * i])
    return made
