"""Recordings whose tracks or channels are transcribed apart: what is decoded, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from dropscribe.errors import MediaLimitError
from dropscribe.media.protocol import CHANNELS_APART, CHANNELS_IF_CALL, PART_GAP_MS
from dropscribe.transcript.types import CHANNEL, GAP, TRACK, MediaFacts
from tests.support.decoding import run, run_apart
from tests.support.recordings import encode, noise, ticks_in, with_tracks

RATE_HZ = 48_000
CONTAINERS = [("mkv", "matroska", "libopus"), ("mp4", "mp4", "aac"), ("ts", "mpegts", "aac")]


def bursts(*at_s: float, seconds: float = 6.0, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Silence with bursts of 0.1 s at these times."""
    pcm = np.zeros((round(seconds * rate_hz), 1), np.int16)
    tone = (np.sin(2 * np.pi * 440 * np.arange(rate_hz // 10) / rate_hz) * 9000).astype(np.int16)
    for at in at_s:
        start = round(at * rate_hz)
        pcm[start : start + len(tone), 0] = tone
    return pcm


def call(seconds: int = 12, rate_hz: int = 8000) -> NDArray[np.int16]:
    """A call: each side speaks for a second, one after the other."""
    voice = noise(seconds, rate_hz)[:, 0].astype(np.int16)
    turn = np.arange(len(voice)) // rate_hz % 2
    return np.stack([voice * (turn == 0), voice * (turn == 1)], axis=1).astype(np.int16)


def heard(parts: list[NDArray[np.int16]]) -> list[list[int]]:
    return [[round(at) for at in ticks_in(pcm)] for pcm in parts]


def numbers(facts: MediaFacts) -> list[tuple[str, int, str | None]]:
    return [(part.kind, part.number, part.name) for part in facts.parts]


@pytest.mark.parametrize("kind", CONTAINERS, ids=lambda k: k[0])
def test_all_tracks_are_decoded_one_after_the_other(kind: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / f"talk.{kind[0]}"
    tracks = [bursts(1.0, 3.0), bursts(), bursts(0.5, 7.5, seconds=8)]
    titles = ("Floor", "", "Interpreter") if kind[0] == "mkv" else ()
    with_tracks(path, kind[1], kind[2], tracks, titles=titles)
    facts, parts = run_apart(path, track="all")
    names = ["Floor", "Interpreter"] if titles else [None, None]
    assert numbers(facts) == [(TRACK, 1, names[0]), (TRACK, 3, names[1])]
    first, second = parts
    assert heard([first]) == [[1, 3]]
    assert ticks_in(second) == pytest.approx([0.5, 7.5], abs=0.1)
    assert abs(facts.duration_ms - 8000) < 100, "that of the longest track"
    assert facts.parts[1].start_ms >= 6000 + PART_GAP_MS - 100
    assert [t.number for t in facts.tracks if t.chosen] == [1, 3], "the silent one is left out"
    assert (facts.warnings, facts.losses, facts.truncated) == ((), (), None)


def test_a_hole_is_in_each_track_and_told_once(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    with_tracks(path, "matroska", "libopus", [bursts(1.0, 5.0), bursts(2.0, 4.0)], holes={3.5: 30.0})
    facts, parts = run_apart(path, track="all")
    assert heard(parts) == [[1, 35], [2, 34]]
    (loss,) = facts.losses
    assert (loss.kind, loss.length_ms) == (GAP, 30_000)
    assert "track" not in loss.text


@pytest.mark.parametrize("extension", ["wav", "mkv"])
def test_the_only_track_or_the_only_with_sound(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"talk.{extension}"
    if extension == "wav":
        soundfile.write(path, bursts(1.0), RATE_HZ)
        facts, pcm = run(path, track="all")
        assert facts.parts == ()
    else:
        with_tracks(path, "matroska", "libopus", [bursts(), bursts(1.0)])
        facts, (pcm,) = run_apart(path, track="all")
        assert numbers(facts) == [(TRACK, 2, None)]
    assert heard([pcm]) == [[1]]


def test_tracks_that_are_all_silent_are_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    with_tracks(path, "matroska", "libopus", [bursts(), bursts()])
    facts, (pcm,) = run_apart(path, track="all")
    assert (facts.parts, bool(len(pcm)), bool(pcm.any())) == ((), True, False)
    assert abs(facts.duration_ms - 6000) < 60


@pytest.mark.parametrize(
    ("extension", "container", "codec"),
    [
        ("wav", "wav", "pcm_s16le"),
        ("mp3", "mp3", "libmp3lame"),
        ("m4a", "mp4", "aac"),
        ("flac", "flac", "flac"),
    ],
)
def test_the_channels_of_a_call(extension: str, container: str, codec: str, tmp_path: Path) -> None:
    path = tmp_path / f"call.{extension}"
    sides = np.concatenate([bursts(1.0, 3.0), bursts(2.0, 4.0, 5.0)], axis=1)
    encode(path, container, codec, sides, RATE_HZ, "stereo")
    facts, parts = run_apart(path, channels=CHANNELS_APART)
    assert heard(parts) == [[1, 3], [2, 4, 5]]
    assert numbers(facts) == [(CHANNEL, 1, None), (CHANNEL, 2, None)]
    assert abs(facts.duration_ms - 6000) < 100
    assert facts.parts[1].start_ms == pytest.approx(facts.duration_ms + PART_GAP_MS, abs=1)
    assert (facts.warnings, facts.losses, facts.channels) == ((), (), 2)


def test_more_channels_than_two(tmp_path: Path) -> None:
    path = tmp_path / "talk.flac"
    sides = np.concatenate([bursts(float(at)) for at in (1, 2, 3, 4)], axis=1)
    encode(path, "flac", "flac", sides, RATE_HZ, "quad")
    _, parts = run_apart(path, channels=CHANNELS_APART)
    assert heard(parts) == [[1], [2], [3], [4]]


@pytest.mark.parametrize("what", ["mono", "alike", "one silent"])
def test_a_single_channel_with_sound_of_its_own(what: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    one = bursts(1.0, *(1.2 + 0.2 * n for n in range(20)))
    sides = {"mono": [one], "alike": [one, one], "one silent": [one, one // 10_000]}[what]
    soundfile.write(path, np.concatenate(sides, axis=1), RATE_HZ)
    facts, parts = run_apart(path, channels=CHANNELS_APART)
    assert numbers(facts) == [(CHANNEL, 1, None)]
    assert abs(facts.duration_ms - 6000) <= 1
    assert np.abs(parts[0]).max() > 8000


def test_asked_for_calls_only_calls_are_divided(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, call(), 8000)
    assert len(run_apart(path, channels=CHANNELS_IF_CALL)[0].parts) == 2
    soundfile.write(path, noise(4), 16_000)
    assert run(path, channels=CHANNELS_IF_CALL)[0].parts == ()
    room = noise(4)
    soundfile.write(path, np.concatenate([room, room // 2], axis=1), 16_000)
    facts, pcm = run(path, channels=CHANNELS_IF_CALL)
    assert (facts.parts, len(pcm)) == ((), 4 * 16_000)


def test_defects_of_one_part_name_it_and_those_of_all_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    loud = 3 * np.sin(np.arange(RATE_HZ) / 20)
    soundfile.write(
        path, np.stack([noise(1, RATE_HZ)[:, 0] / 32_768, loud], axis=1), RATE_HZ, subtype="FLOAT"
    )
    short = tmp_path / "cut.wav"
    short.write_bytes(path.read_bytes()[:-100_000])
    facts, _ = run_apart(short, channels=CHANNELS_APART)
    assert facts.truncated is not None
    assert [w[:11] for w in facts.warnings if "clipped" in w] == ["channel 2: "]
    assert len(facts.warnings) == len(set(facts.warnings))


def test_the_limit_is_on_the_recording_not_on_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, call(), 8000)
    facts, _ = run_apart(path, channels=CHANNELS_APART, max_hours=13 / 3600)
    assert (len(facts.parts), facts.duration_ms) == (2, 12_000)
    with pytest.raises(MediaLimitError):
        run_apart(path, channels=CHANNELS_APART, max_hours=11 / 3600)


def test_recordings_that_follow_in_the_file_are_at_the_same_time_in_all_tracks(tmp_path: Path) -> None:
    first, second, joined = (tmp_path / f"{name}.mkv" for name in ("a", "b", "joined"))
    with_tracks(first, "matroska", "libopus", [bursts(1.0), bursts(2.0, seconds=3)])
    with_tracks(second, "matroska", "libopus", [bursts(1.0), bursts(2.0)])
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    facts, parts = run_apart(joined, track="all")
    assert heard(parts) == [[1, 7], [2, 8]]
    assert facts.losses == ()
