"""What passes on a GPU may take of its memory."""

from __future__ import annotations

import pytest

from dropscribe.engine.layers.fbank import chunk_frames
from dropscribe.engine.models.punctuation.pass_sizes import SIZES, most_words


@pytest.mark.parametrize(
    ("gib", "frames"), [(1, 4_096), (4, 8_192), (8, 16_384), (24, 49_152), (80, 65_536), (141, 65_536)]
)
def test_spectra_are_made_for_fewer_frames_at_a_time_where_memory_is_small(gib: int, frames: int) -> None:
    assert chunk_frames(gib << 30) == frames


@pytest.mark.parametrize(
    ("gib", "width", "words"),
    [
        (1, 256, 2048),
        (4, 256, 8192),
        (8, 516, 6144),
        (24, 256, 49_152),
        (141, 516, 65_536),
        (141, 256, 65_536),
    ],
)
def test_a_pass_of_punctuation_takes_a_64th_of_the_memory_at_most(gib: int, width: int, words: int) -> None:
    assert most_words(gib << 30, width) == words


def test_there_is_always_a_pass() -> None:
    assert most_words(0, 1024) == SIZES[0]
