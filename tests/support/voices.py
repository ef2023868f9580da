"""Embeddings of made-up speakers in conversation, as similar and as different as those of real voices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE = 192
#: Cosine between two windows of one speaker; between two speakers it is about 0.05.
WITHIN = (0.51, 0.73)


@dataclass(frozen=True)
class Conversation:
    embeddings: NDArray[np.float32]
    speakers: NDArray[np.int64]  #: who speaks in each window
    mixed: NDArray[np.bool_]  #: windows with two speakers


def conversation(
    seed: int, speakers: int, windows: int, *, longest_turn: int = 10, mixed: float = 0.3
) -> Conversation:
    """Turns of 1 to `longest_turn` windows; of the windows in which the speaker changes a share holds both voices."""
    rng = np.random.default_rng(seed)
    everyone = _unit(rng.normal(size=SIZE))
    centres = _unit(_unit(rng.normal(size=(speakers, SIZE))) + 0.25 * everyone)
    who: list[int] = []
    while len(who) < windows:
        others = [s for s in range(speakers) if not who or s != who[-1]] or [0]
        who += [int(rng.choice(others))] * int(rng.integers(1, longest_turn + 1))
    labels = np.array(who[:windows])
    cosine = rng.uniform(*WITHIN, size=speakers)[labels]
    voices = centres[labels]
    changes = np.flatnonzero(np.diff(labels)) + 1
    both = np.zeros(windows, bool)
    both[changes[rng.random(len(changes)) < mixed]] = True
    for at in np.flatnonzero(both):
        voices[at] = _unit(0.5 * centres[labels[at]] + 0.5 * centres[labels[at - 1]])
    noise = rng.normal(size=voices.shape) * np.sqrt((1 - cosine) / cosine / SIZE)[:, None]
    return Conversation(_unit(voices + noise).astype(np.float32), labels, both)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))
