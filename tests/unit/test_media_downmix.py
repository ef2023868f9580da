"""Downmix to mono without phase cancellation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dropscribe.media.downmix import Downmixer
from dropscribe.media.normalise import Block, Normaliser


def voice(seed: int, frames: int = 20_000) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(frames) * 0.1).astype(np.float32)


def columns(*channels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack(channels, axis=1)


def test_channels_that_do_not_cancel_are_averaged() -> None:
    for channels in (columns(voice(1), voice(2)), columns(*map(voice, range(6))), columns(*[voice(3)] * 8)):
        mixer = Downmixer()
        assert np.allclose(mixer.mix(channels), channels.mean(axis=1), atol=1e-7)
        assert not mixer.turned


def test_a_speaker_in_one_of_six_channels_is_kept() -> None:
    silent = np.zeros(20_000, np.float32)
    mono = Downmixer().mix(columns(silent, silent, silent, voice(1), silent, silent))
    assert np.allclose(mono, voice(1) / 6)


@pytest.mark.parametrize("hum", [0.0, 0.1])
def test_an_inverted_channel_is_corrected(hum: float) -> None:
    """Also with hum common to both channels, which would otherwise remain alone."""
    shared = voice(9) * np.float32(hum)
    mixer = Downmixer()
    mono = mixer.mix(columns(voice(1) + shared, shared - voice(1)))
    assert mixer.turned
    assert abs(np.corrcoef(mono, voice(1))[0, 1]) > 0.99
    assert np.std(mono) == pytest.approx(np.std(voice(1)), rel=0.01)


def test_inverted_pairs_among_many_channels_are_corrected() -> None:
    mono = Downmixer().mix(columns(voice(1), -voice(1), voice(1), -voice(1)))
    assert np.allclose(np.abs(mono), np.abs(voice(1)), atol=1e-6)


def test_signs_stay_until_channels_cancel_again() -> None:
    """A change of sign inside a word would be a click; a necessary one is applied at once."""
    mixer = Downmixer()
    inverted = columns(voice(1), -voice(1))
    plain = columns(voice(2), voice(2))
    unrelated = columns(voice(3), voice(4))
    first = mixer.mix(inverted)
    assert np.allclose(mixer.mix(unrelated), (voice(3) - voice(4)) / 2, atol=1e-7)
    assert np.allclose(mixer.mix(inverted), first)
    assert np.allclose(mixer.mix(plain), voice(2), atol=1e-7)


def test_silence_is_not_inverted() -> None:
    tiny = np.full(1000, 1e-6, np.float32)
    mixer = Downmixer()
    assert np.array_equal(mixer.mix(columns(tiny, -tiny)), np.zeros(1000, np.float32))
    assert not mixer.turned


def test_an_inversion_causes_a_warning() -> None:
    pcm = np.array([[3000, -3000], [-500, 500]] * 4000, np.int16)
    normaliser = Normaliser()
    made = np.concatenate([*normaliser.push(Block(pcm, 16_000)), *normaliser.finish()])
    assert np.array_equal(np.abs(made), np.abs(pcm[:, 0]))
    assert any("one is inverted" in warning for warning in normaliser.warnings)
