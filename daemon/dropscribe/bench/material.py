"""Generate recordings for a comparison: the bundled sample repeated with pauses, in various lengths."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.models.store import SAMPLE
from dropscribe.engine.protocol import SAMPLE_RATE_HZ

#: Lengths, used cyclically, seconds: like voice messages, calls and an occasional meeting.
LENGTHS_S = (12.0, 45.0, 20.0, 120.0, 8.0, 300.0, 30.0, 75.0)
#: Shortest generated recording, seconds: long enough for a sentence.
LEAST_S = 5.0
#: Pauses between repetitions, seconds: shorter and longer than the silence that ends a segment (0.8 s).
PAUSES_S = (0.4, 1.2, 0.7, 2.0)
#: Peak amplitude of the noise in a pause (full scale: 32,768), since microphones are never digitally silent.
HISS = 8


def lengths(minutes: float) -> list[float]:
    """Duration of each recording, seconds; `minutes` in all, at least one recording of `LEAST_S`."""
    left = max(minutes * 60, LEAST_S)
    planned: list[float] = []
    for wanted in cycle(LENGTHS_S):
        take = min(wanted, left)
        # A remainder too short for another recording is added to this one.
        if left - take < LEAST_S:
            take = left
        planned.append(take)
        left -= take
        if left <= 0:
            return planned
    raise AssertionError


def generate(folder: Path, minutes: float) -> list[Path]:
    """Write the recordings as 16 kHz mono WAV files, each with different content. Raises OSError."""
    with wave.open(str(SAMPLE), "rb") as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.dtype("<i2")).astype(np.int16)
    made = []
    for number, seconds in enumerate(lengths(minutes)):
        path = folder / f"generated-{number:04d}-{seconds:.0f}s.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            for block in _content(said, round(seconds * SAMPLE_RATE_HZ), number):
                file.writeframes(block.astype("<i2").tobytes())
        made.append(path)
    return made


def _content(said: NDArray[np.int16], samples: int, number: int) -> Iterator[NDArray[np.int16]]:
    """Alternate pauses and speech; `number` selects the first pause and seeds the noise."""
    noise = np.random.default_rng(number)
    left, turn = samples, number
    while left > 0:
        pause_s = PAUSES_S[turn % len(PAUSES_S)]
        pause = noise.integers(-HISS, HISS, size=round(pause_s * SAMPLE_RATE_HZ), dtype=np.int16)
        for block in (pause, said):
            yield block[:left]
            left = max(0, left - len(block))
        turn += 1
