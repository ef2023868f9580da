"""Which stereo recordings are calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dropscribe.media.normalise import Block
from dropscribe.media.sources.sides import Sides, compare

RATE_HZ = 8000


def voice(seconds: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, seconds * RATE_HZ).astype(np.float32)


def turns(seconds: int, share: float) -> NDArray[np.bool_]:
    """True where the first of two speakers has the word: for that share of every 4 s."""
    return np.arange(seconds * RATE_HZ) % (4 * RATE_HZ) < share * 4 * RATE_HZ


def recorded(kind: str, seconds: int = 20) -> NDArray[np.float32]:
    one, other, hiss = voice(seconds, 1), voice(seconds, 2), voice(seconds, 3) / 1000
    first = turns(seconds, 0.7)
    left: NDArray[Any]
    right: NDArray[Any]
    match kind:
        case "call":
            left, right = one * first + hiss, other * ~first
        case "call with an echo of -15 dB and an offset":
            left = one * first + 0.18 * np.roll(other * ~first, 400) + 0.05
            right = other * ~first + 0.18 * np.roll(one * first, 400) - 0.02
        case "mono":
            left = right = one
        case "panned":
            left, right = one, one / 2 + hiss
        case "inverted":
            left, right = one, -one
        case "music":
            left, right = one + other / 2, other + one / 2
        case "two rooms at once":
            left, right = one, other
        case "one side only":
            left, right = one * first, hiss
        case _:
            left, right = hiss / 10, hiss[::-1] / 10
    return np.stack([left, right], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "sides"),
    [
        ("call", Sides.CALL),
        ("call with an echo of -15 dB and an offset", Sides.CALL),
        ("mono", Sides.ALIKE),
        ("panned", Sides.OTHER),
        ("inverted", Sides.OTHER),
        ("music", Sides.OTHER),
        ("two rooms at once", Sides.OTHER),
        ("one side only", Sides.OTHER),
        ("silence", Sides.OTHER),
    ],
)
def test_calls_are_told_from_other_recordings(kind: str, sides: Sides) -> None:
    pcm = recorded(kind)
    blocks = [Block(pcm[at : at + 1777], RATE_HZ) for at in range(0, len(pcm), 1777)]
    assert compare(blocks) is sides
    whole = Block((pcm * 32_000).astype(np.int16), RATE_HZ)
    assert compare([whole]) is sides


def test_too_little_sound_to_tell() -> None:
    assert compare([Block(recorded("call", 1), RATE_HZ)]) is Sides.OTHER
    assert compare([]) is Sides.OTHER
    assert compare([Block(np.zeros((8000, 1), np.int16), RATE_HZ)]) is Sides.OTHER


def test_listening_is_bounded() -> None:
    given = 0

    def endless() -> Iterator[Block]:
        nonlocal given
        block = Block(np.zeros((60 * RATE_HZ, 2), np.int16), RATE_HZ)
        while True:
            given += 1
            yield block

    assert compare(endless()) is Sides.OTHER
    assert given == 15
