"""Arithmetic of normalisation, and detection of truncation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dropscribe.media.container.reader import ContainerCheck
from dropscribe.media.container.truncation import Decoded, judge
from dropscribe.media.normalise import Block, Normaliser


def through(*blocks: Block) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    normaliser = Normaliser()
    out = [pcm for block in blocks for pcm in normaliser.push(block)] + normaliser.finish()
    assert all(pcm.dtype == np.int16 and pcm.ndim == 1 for pcm in out)
    return np.concatenate([np.zeros(0, np.int16), *out]), normaliser.warnings


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=500))
def test_16_khz_mono_passes_unchanged_as_int16_and_as_float(values: list[int]) -> None:
    pcm = np.array(values, np.int16)[:, None]
    assert np.array_equal(through(Block(pcm, 16_000))[0], pcm[:, 0])
    floats = pcm.astype(np.float32) / np.float32(32_768)
    assert np.array_equal(through(Block(floats, 16_000))[0], pcm[:, 0])


def test_channels_are_averaged_and_rounded_half_to_even() -> None:
    pcm = np.array([[1, 2], [2, 3], [-1, -2], [100, 300], [32_767, 32_767], [-32_768, -32_768]], np.int16)
    assert through(Block(pcm, 16_000))[0].tolist() == [2, 2, -2, 200, 32_767, -32_768]


def test_samples_above_full_scale_are_clipped_with_a_warning() -> None:
    loud = np.array([[2.0], [-2.0], [1.0], [-1.0]], np.float32)
    pcm, warnings = through(Block(loud, 16_000))
    assert pcm.tolist() == [32_767, -32_768, 32_767, -32_768]
    assert len(warnings) == 1
    assert "50 %" in warnings[0]


def test_nan_samples_are_silence_with_a_warning() -> None:
    odd = np.array([[np.nan, np.nan], [np.inf, 0.5], [3e38, 3e38], [0.25, 0.25]], np.float32)
    pcm, warnings = through(Block(odd, 16_000))
    assert pcm.tolist() == [0, 8192, 32_767, 8192]
    assert "3 samples were not numbers" in warnings[0]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000, 192_000])
@given(cuts=st.lists(st.integers(1, 3_000), min_size=1, max_size=8))
def test_the_result_does_not_depend_on_block_sizes(rate_hz: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(1)
    pcm = (rng.standard_normal((sum(cuts), 1)) * 3000).astype(np.int16)
    edges = np.cumsum([0, *cuts])
    pieces = [Block(pcm[a:b], rate_hz) for a, b in itertools.pairwise(edges)]
    whole, _ = through(Block(pcm, rate_hz))
    parts, _ = through(*pieces)
    assert abs(len(whole) - len(pcm) * 16_000 / rate_hz) <= 1
    assert np.array_equal(whole, parts)


def test_a_change_of_sample_rate_loses_no_time() -> None:
    def second(rate_hz: int) -> Block:
        return Block(np.full((rate_hz, 1), 1000, np.int16), rate_hz)

    pcm, _ = through(second(48_000), second(16_000), second(8_000), second(44_100))
    assert abs(len(pcm) - 64_000) <= 3


def check(kind: str, *, whole: bool | None, declared_s: float | None = None) -> ContainerCheck:
    return ContainerCheck(kind, whole, None, 1000, "the reason", declared_s)


def test_an_undamaged_file_is_not_truncated() -> None:
    for kind in ("wav", "flac", "mp3", "mp4", "matroska", "ogg", "unknown"):
        assert judge(check(kind, whole=True, declared_s=10.0), 10.0, Decoded(10.0, 0)) == judge(
            check(kind, whole=None), None, Decoded(10.0, 0)
        )
    assert judge(check("mp4", whole=True), 10.0, Decoded(9.9, 0)).truncated is None


def test_truncation_is_reported_with_both_durations() -> None:
    verdict = judge(check("wav", whole=False, declared_s=20.0), None, Decoded(10.0, 0))
    assert verdict.truncated == "the file ends after 10.0 s of the 20.0 s its header declares"
    verdict = judge(check("ogg", whole=False), None, Decoded(10.0, 0))
    assert verdict.truncated == "the file ends after 10.0 s and is cut short: the reason"


def test_estimated_durations_are_ignored() -> None:
    for kind in ("mp3", "ogg", "asf", "unknown"):
        assert judge(check(kind, whole=None), 1887.0, Decoded(0.5, 0)).truncated is None
    # The picture of a video may be longer than its audio.
    assert judge(check("matroska", whole=True), 20.0, Decoded(10.0, 0)).truncated is None


def test_a_complete_file_with_missing_audio_is_damaged_not_truncated() -> None:
    verdict = judge(check("flac", whole=True, declared_s=20.0), None, Decoded(19.0, 2))
    assert verdict.truncated is None
    assert verdict.warnings == (
        "the recording is damaged in 2 places; what could not be decoded was left out",
        "the recording is damaged: 1.0 s of 20.0 s could not be decoded",
    )
