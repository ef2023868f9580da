"""Names for voices: alike enough, one to one, the most alike first."""

from __future__ import annotations

import math
import struct

import pytest

from dropscribe.transcript.known_voices import KnownVoice, alike, match, mean_voice, named
from dropscribe.transcript.types import CHANNEL, Speaker


def voice(degrees: float) -> bytes:
    """A unit vector in a plane: the cosine of two is that of the angle between them."""
    angle = math.radians(degrees)
    return struct.pack("<2e", math.cos(angle), math.sin(angle))


ANNA, BO = KnownVoice("Anna", voice(0)), KnownVoice("Bo", voice(80))


def test_a_voice_gets_the_name_of_the_most_alike() -> None:
    assert match([voice(75), voice(10)], [ANNA, BO]) == ("Bo", "Anna")


def test_a_stranger_has_no_name() -> None:
    assert match([voice(180), voice(-61)], [ANNA, BO]) == (None, None)


def test_nobody_is_two_speakers() -> None:
    assert match([voice(20), voice(5)], [ANNA]) == (None, "Anna")


def test_a_voice_enrolled_twice_under_a_name_counts_once() -> None:
    assert match([voice(5), voice(20)], [ANNA, KnownVoice("Anna", voice(21))]) == (None, "Anna")


def test_voices_of_another_length_are_not_compared() -> None:
    assert match([b"", b"\0\x3c"], [ANNA]) == (None, None)
    assert match([voice(0)], []) == (None,)


def test_names_that_are_given_stay() -> None:
    speakers = (
        Speaker(1, None, embedding=voice(5)),
        Speaker(2, "Eve", embedding=voice(0)),
        Speaker(3, None, CHANNEL),
    )
    assert [s.name for s in named(speakers, [ANNA, BO])] == ["Anna", "Eve", None]


def test_the_mean_of_voices_lies_between_them() -> None:
    mean = mean_voice([voice(0), voice(60)], [1.0, 1.0])
    assert struct.unpack("<2e", mean) == pytest.approx((math.cos(math.pi / 6), 0.5), abs=1e-3)
    assert alike(mean, voice(60))
    with pytest.raises(ValueError, match="no voice"):
        mean_voice([], [])
