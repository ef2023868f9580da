"""Files with several audio tracks: which is transcribed, and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from dropscribe.errors import NoAudioError
from dropscribe.settings import Settings
from dropscribe.transcript.remarks import media_remarks
from dropscribe.transcript.types import GAP, MediaFacts
from tests.support.decoding import run
from tests.support.recordings import noise, ticks_in, with_tracks

RATE_HZ = 48_000
CONTAINERS = [
    ("mkv", "matroska", "libopus"),
    ("mp4", "mp4", "aac"),
    ("ts", "mpegts", "aac"),
    ("mov", "mov", "pcm_s16le"),
]


def bursts(*at_s: float, seconds: float = 6.0, level: int = 9000) -> NDArray[np.int16]:
    """Silence with bursts of 0.1 s at these times."""
    pcm = np.zeros((round(seconds * RATE_HZ), 1), np.int16)
    tone = (np.sin(2 * np.pi * 440 * np.arange(RATE_HZ // 10) / RATE_HZ) * level).astype(np.int16)
    for at in at_s:
        start = round(at * RATE_HZ)
        pcm[start : start + len(tone), 0] = tone
    return pcm


SILENT, ONE, TWO = bursts(), bursts(1.0, 3.0), bursts(2.0, 4.0, 5.0)


def heard(pcm: NDArray[np.int16]) -> list[int]:
    return [round(at) for at in ticks_in(pcm)]


def chosen(facts: MediaFacts) -> list[int]:
    return [track.number for track in facts.tracks if track.chosen]


def remark(facts: MediaFacts) -> str | None:
    return {r.kind: r.text for r in media_remarks(facts)}.get("tracks")


@pytest.mark.parametrize("kind", CONTAINERS, ids=lambda k: k[0])
def test_a_silent_first_track_is_passed_over(kind: tuple[str, str, str], tmp_path: Path) -> None:
    """OBS with desktop sound on track 1 and the microphone on track 2; the first is marked as default, or none."""
    path = tmp_path / f"talk.{kind[0]}"
    with_tracks(path, kind[1], kind[2], [SILENT, ONE, TWO], default=0)
    facts, pcm = run(path)
    assert (heard(pcm), chosen(facts)) == ([1, 3], [2])
    assert (remark(facts) or "").startswith("of 3 audio tracks, only track 2")


def test_the_default_track_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    names = ("eng", "chi", "ger")
    titles = ("Interpreter", "Floor\nsound", "")
    with_tracks(path, "matroska", "libopus", [ONE, TWO, ONE], default=1, languages=names, titles=titles)
    facts, pcm = run(path)
    assert (heard(pcm), chosen(facts)) == ([2, 4, 5], [2])
    assert remark(facts) == (
        'of 3 audio tracks, only track 2 (chi, "Floor sound") is transcribed; '
        'not transcribed: 1 (eng, "Interpreter"), 3 (ger)'
    )
    assert [track.default for track in facts.tracks] == [False, True, False]


def test_sound_late_in_a_long_track_is_found(tmp_path: Path) -> None:
    path = tmp_path / "talk.mka"
    late = bursts(*(40.2 + 0.5 * n for n in range(40)), seconds=61)
    with_tracks(path, "matroska", "libopus", [bursts(seconds=61), late])
    facts, _ = run(path)
    assert chosen(facts) == [2]


def test_all_silent_tracks_are_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    with_tracks(path, "matroska", "libopus", [SILENT, SILENT], default=1)
    facts, _ = run(path)
    assert chosen(facts) == [2]


@pytest.mark.parametrize("kind", CONTAINERS, ids=lambda k: k[0])
def test_a_number_chooses(kind: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / f"talk.{kind[0]}"
    with_tracks(path, kind[1], kind[2], [ONE, TWO], default=0)
    facts, pcm = run(path, track=2)
    assert (heard(pcm), chosen(facts)) == ([2, 4, 5], [2])


def test_a_track_that_is_not_there_is_a_failure_that_names_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    with_tracks(path, "matroska", "libopus", [ONE, TWO], languages=("eng", "chi"), titles=("", "Room"))
    with pytest.raises(NoAudioError, match=r"it has no audio track 4; it has 1 \(eng\), 2 \(chi, Room\)"):
        run(path, track=4)


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_a_file_with_one_track(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"talk.{extension}"
    soundfile.write(path, noise(1), 16_000)
    for track in (1, "auto", "loudest", "mix"):
        facts, _ = run(path, track=track)
        assert (facts.duration_ms, remark(facts)) == (1000, None)
    with pytest.raises(NoAudioError, match="no audio track 2; it has only 1"):
        run(path, track=2)


def test_the_loudest(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    with_tracks(path, "mp4", "aac", [noise(6, RATE_HZ) // 100, TWO, noise(6, RATE_HZ) // 50], default=0)
    facts, pcm = run(path, track="loudest")
    assert (heard(pcm), chosen(facts)) == ([2, 4, 5], [2])


@pytest.mark.parametrize("kind", CONTAINERS, ids=lambda k: k[0])
def test_a_mix_has_all_tracks_and_no_remark(kind: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / f"talk.{kind[0]}"
    with_tracks(path, kind[1], kind[2], [ONE, TWO, SILENT, bursts(0.0, 7.0, seconds=8)])
    facts, pcm = run(path, track="mix")
    assert (heard(pcm), chosen(facts)) == ([0, 1, 2, 3, 4, 5, 7], [1, 2, 3, 4])
    assert abs(facts.duration_ms - 8000) < 60
    assert (remark(facts), facts.warnings, facts.losses) == (None, (), ())


def test_a_hole_in_all_tracks_is_in_the_mix_once_and_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    with_tracks(path, "matroska", "libopus", [ONE, TWO], holes={3.5: 30.0})
    facts, pcm = run(path, track="mix")
    assert heard(pcm) == [1, 2, 3, 34, 35]
    (loss,) = facts.losses
    assert (loss.kind, loss.length_ms) == (GAP, 30_000)
    assert abs(loss.start_ms - 3500) < 100


def test_a_mix_of_loud_tracks_is_limited_not_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "talk.mov"
    loud = bursts(1.0, level=32_000)
    with_tracks(path, "mov", "pcm_s16le", [loud, loud])
    _, pcm = run(path, track="mix")
    burst = pcm[16_500:17_000].astype(np.int32)
    assert int(np.abs(np.diff(burst)).max()) < 20_000


def test_tracks_and_channels_are_part_of_the_recipe() -> None:
    def recipe(**profile: object) -> str:
        return Settings.model_validate({"profiles": {"a": profile}}).recipe("a")

    plain = recipe()
    assert recipe(audio_track="auto") == plain
    tracks = [recipe(audio_track=track) for track in (1, 2, "mix", "all")]
    speakers = [recipe(speakers=speakers) for speakers in ("auto", "channels", 2)]
    assert len({plain, *tracks, *speakers}) == 8


@pytest.mark.parametrize("value", [0, -1, 1000, "second", True, 1.5])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="audio_track"):
        Settings.model_validate({"profiles": {"a": {"audio_track": value}}})
