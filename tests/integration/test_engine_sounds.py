"""Unusual audio through decoders and engine with the bundled model: speech is recognised, silence gives no text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from dropscribe.config import Settings
from dropscribe.engine.models.store import SAMPLE
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Progress
from dropscribe.pipeline.oneshot import OneShot

RATE = 16_000
#: Sentences of the sample; the bundled model recognises most of them.
SPOKEN = (
    "今天的会议主要讨论明年的工作计划和预算安排",
    "首先请市场部介绍上半年的销售情况",
    "最后决定下个月在上海举行产品发布会",
)
#: Most wrong characters of a sentence; for the unmodified sample the model has up to 3.
WRONG = 6
#: The same for heavily clipped audio.
WRONG_CLIPPED = 9

Samples = NDArray[np.float32]


def beside_silence(voice: Samples, channels: int) -> Samples:
    made = np.zeros((len(voice), channels), np.float32)
    made[:, channels // 2] = voice
    return made


def with_holes(voice: Samples) -> Samples:
    made = voice.copy()
    made[::997] = np.nan
    made[5::1993] = np.inf
    made[7::1993] = -np.inf
    return made


#: name: (samples from the voice, Hz, libsndfile's subtype).
SPEECH: dict[str, tuple[Callable[[Samples], Samples], int, str]] = {
    "plain": (lambda v: v, RATE, "PCM_16"),
    "six channels, one of them speaks": (lambda v: beside_silence(v, 6), RATE, "PCM_16"),
    "six channels, softly": (lambda v: beside_silence(v, 6) / np.float32(10), RATE, "PCM_16"),
    "one side of two": (lambda v: beside_silence(v, 2), RATE, "PCM_16"),
    "one side inverted": (lambda v: np.stack([v, -v], axis=1), RATE, "PCM_16"),
    "one side inverted, 44.1 kHz": (
        lambda v: np.stack([-soxr.resample(v, RATE, 44_100), soxr.resample(v, RATE, 44_100)], axis=1),
        44_100,
        "PCM_24",
    ),
    "192 kHz": (lambda v: soxr.resample(v, RATE, 192_000), 192_000, "PCM_24"),
    "offset": (lambda v: np.clip(v + np.float32(0.4), -1, 1), RATE, "PCM_16"),
    "holes": (with_holes, RATE, "FLOAT"),
    "24 bits": (lambda v: v, RATE, "PCM_24"),
    "64-bit float": (lambda v: v, RATE, "DOUBLE"),
    "very soft": (lambda v: v / np.float32(100), RATE, "PCM_16"),
    "8 kHz": (lambda v: soxr.resample(v, RATE, 8_000), 8_000, "PCM_16"),
    "clipped": (lambda v: np.clip(v * 20, -1, 1), RATE, "PCM_16"),
    "beyond full scale": (lambda v: v * 20, RATE, "FLOAT"),
}

NOTHING: dict[str, Callable[[], Samples]] = {
    "silence": lambda: np.zeros(10 * RATE, np.float32),
    "noise": lambda: (np.random.default_rng(1).standard_normal(10 * RATE) * 0.05).astype(np.float32),
    "40 ms of silence": lambda: np.zeros(RATE // 25, np.float32),
    "40 ms of speech": lambda: soundfile.read(SAMPLE, dtype="float32", start=RATE, frames=RATE // 25)[0],
    "one sample": lambda: np.full(1, 0.5, np.float32),
    "no numbers at all": lambda: np.full(RATE, np.nan, np.float32),
}

#: Sounds without known text: only the completeness of their segments is tested.
SOUNDS: dict[str, Callable[[], Samples]] = {
    "music": lambda: chords(10.0),
    "loud noise": lambda: (np.random.default_rng(1).standard_normal(10 * RATE) * 0.3).astype(np.float32),
    "tone": lambda: (0.5 * np.sin(2 * np.pi * 440 * np.arange(5 * RATE) / RATE)).astype(np.float32),
}


def chords(seconds: float) -> Samples:
    """A decaying chord, twice a second."""
    t = np.arange(round(seconds * RATE)) / RATE
    envelope = np.exp(-4 * (t % 0.5))
    tones = [0.15 * np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 329.6, 440.0)]
    return np.asarray(sum(tones) * envelope, dtype=np.float32)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Results of all sounds through one engine at once; a lost segment fails its recording."""
    folder = tmp_path_factory.mktemp("sounds")
    voice, _ = soundfile.read(SAMPLE, dtype="float32")
    for name, (made, rate_hz, subtype) in SPEECH.items():
        soundfile.write(folder / f"{name}.wav", made(voice), rate_hz, subtype=subtype)
    for name, sound in (NOTHING | SOUNDS).items():
        soundfile.write(folder / f"{name}.wav", sound(), RATE, subtype="FLOAT")
    settings = Settings.model_validate(
        {"engine": {"model": "paraformer-mini", "vad_model": "vad-mini", "device": "cpu"}}
    )
    results: dict[str, Result] = {}
    with OneShot(settings) as one:
        for finished in one.transcribe(sorted(folder.iterdir()), no_progress):
            assert isinstance(finished.end, Result), finished
            results[finished.path.stem] = finished.end
    return results


def no_progress(_path: Path, _progress: Progress) -> None:
    """Ignore progress."""


def errors(said: str, reference: str) -> int:
    """Levenshtein distance in characters."""
    row = list(range(len(reference) + 1))
    for i, character in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, meant in enumerate(reference, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (character != meant))
    return row[-1]


@pytest.mark.parametrize("name", SPEECH)
def test_speech_is_recognised(name: str, heard: dict[str, Result]) -> None:
    result = heard[name]
    assert abs(result.media.duration_ms - 14_350) <= 1
    assert len(result.segments) == len(SPOKEN), result.segments
    allowed = WRONG_CLIPPED if name in ("clipped", "beyond full scale") else WRONG
    for segment, plain, spoken in zip(result.segments, heard["plain"].segments, SPOKEN, strict=True):
        assert errors(segment.text, spoken) <= allowed, segment.text
        assert abs(segment.start_ms - plain.start_ms) < 500
        assert abs(segment.end_ms - plain.end_ms) < 500


@pytest.mark.parametrize("name", NOTHING)
def test_recordings_without_speech_have_no_text(name: str, heard: dict[str, Result]) -> None:
    assert heard[name].segments == ()
    assert heard[name].media.truncated is None


@pytest.mark.parametrize("name", SOUNDS)
def test_other_sounds_come_to_their_end_with_every_segment(name: str, heard: dict[str, Result]) -> None:
    ends = [s.end_ms for s in heard[name].segments]
    assert ends == sorted(ends)
    assert all(s.start_ms < s.end_ms <= heard[name].media.duration_ms for s in heard[name].segments)


def test_unusual_audio_gets_a_warning(heard: dict[str, Result]) -> None:
    wanted = {
        "one side inverted": "one is inverted",
        "holes": "were not numbers",
        "no numbers at all": "were not numbers",
        "beyond full scale": "louder than full scale",
    }
    for name, words in wanted.items():
        assert any(words in warning for warning in heard[name].media.warnings), name
    for name in ("plain", "192 kHz", "offset", "24 bits", "six channels, one of them speaks", "silence"):
        assert heard[name].media.warnings == (), name
