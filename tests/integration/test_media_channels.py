"""Many channels, in every sample layout of decoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.decoding import run
from tests.support.recordings import encode, noise


@pytest.mark.parametrize(
    ("extension", "container", "codec", "layout", "channels"),
    [
        # Planar frames, of which PyAV itself can handle 7.
        (".m4a", "mp4", "aac", "7.1", 8),
        (".wv", "wv", "wavpack", "7.1", 8),
        (".wv", "wv", "wavpack", "16 channels", 16),
        (".m4a", "mp4", "aac", "5.1", 6),
        # Interleaved ones.
        (".opus", "ogg", "libopus", "7.1", 8),
        (".flac", "flac", "flac", "7.1", 8),
        (".mka", "matroska", "pcm_s16le", "16 channels", 16),
    ],
)
def test_surround_sound_is_decoded(
    extension: str, container: str, codec: str, layout: str, channels: int, tmp_path: Path
) -> None:
    path = tmp_path / f"talk{extension}"
    pcm = np.zeros((2 * 48_000, channels), np.int16)
    pcm[:, 2] = noise(2, 48_000)[:, 0]
    encode(path, container, codec, pcm, 48_000, layout)
    facts, got = run(path)
    assert facts.channels == channels
    assert abs(facts.duration_ms - 2000) < 100
    assert facts.warnings == ()
    # Speech in one channel only is kept: channels are averaged, and 48 kHz resampled to 16 kHz.
    alone = tmp_path / "alone.wav"
    soundfile.write(alone, noise(2, 48_000), 48_000)
    _, wanted = run(alone)
    if codec != "aac":  # lossy encoders remove inaudible parts
        assert np.std(got) == pytest.approx(np.std(wanted) / channels, rel=0.1)
    assert np.std(got) > 0.3 * np.std(wanted) / channels


@pytest.mark.parametrize("kind", [(".wav", "wav", "pcm_s16le"), (".m4a", "mp4", "aac")])
def test_a_recording_with_one_side_inverted_is_not_silence(
    kind: tuple[str, str, str], tmp_path: Path
) -> None:
    extension, container, codec = kind
    path = tmp_path / f"talk{extension}"
    side = noise(3)
    encode(path, container, codec, np.concatenate([side, -side], axis=1), 16_000, "stereo")
    facts, got = run(path)
    assert np.std(got) == pytest.approx(np.std(side), rel=0.2)
    assert any("one is inverted" in warning for warning in facts.warnings)
