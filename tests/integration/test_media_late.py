"""Audio that begins later than the picture: times in the transcript are those of a player."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from dropscribe.errors import UnreadableMediaError
from tests.support.decoding import run
from tests.support.recordings import cut, encode, late_sound, noise

CONTAINERS = [
    (".mp4", "mp4", "aac"),
    (".mov", "mov", "pcm_s16le"),
    (".mkv", "matroska", "libopus"),
    (".webm", "webm", "libopus"),
    (".ts", "mpegts", "aac"),
]

#: Tolerance for codec priming, samples; invisible in subtitles.
SLACK = 16 * 60


@pytest.mark.parametrize("kind", CONTAINERS, ids=lambda k: k[0][1:])
def test_late_sound_keeps_its_place(kind: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / f"talk{kind[0]}"
    late_sound(path, kind[1], kind[2], 3.0)
    facts, got = run(path)
    assert abs(facts.duration_ms - 5000) < 60
    assert facts.truncated is None
    assert facts.warnings == ()
    assert not got[: 48_000 - SLACK].any()
    assert np.abs(got[48_000 + SLACK : 49_000 + SLACK]).max() > 1000


@pytest.mark.parametrize("kind", CONTAINERS, ids=lambda k: k[0][1:])
def test_sound_that_begins_with_the_picture_is_not_moved(kind: tuple[str, str, str], tmp_path: Path) -> None:
    path = tmp_path / f"talk{kind[0]}"
    late_sound(path, kind[1], kind[2], 0.0)
    facts, got = run(path)
    assert abs(facts.duration_ms - 2000) < 60
    assert np.abs(got[SLACK : SLACK + 1000]).max() > 1000


def test_a_cut_behind_late_sound_is_still_seen(tmp_path: Path) -> None:
    whole = tmp_path / "talk.mkv"
    late_sound(whole, "matroska", "libopus", 3.0)
    facts, _ = run(cut(whole, 0.9))
    assert 3000 < facts.duration_ms < 5000
    assert facts.truncated is not None


def test_a_delayed_track_without_samples_fails(tmp_path: Path) -> None:
    """The index declares audio from 3 s on, and the file is truncated before it."""
    path = tmp_path / "talk.mp4"
    late_sound(path, "mp4", "aac", 3.0, movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 100])
    with pytest.raises(UnreadableMediaError, match="cut"):
        run(path)


def test_an_impossible_start_time_is_ignored(tmp_path: Path) -> None:
    """An edit list with ten days before the audio."""
    path = tmp_path / "talk.mp4"
    late_sound(path, "mp4", "aac", 3.0)
    data = bytearray(path.read_bytes())
    edits = data.rindex(b"elst")
    assert struct.unpack(">I", data[edits + 12 : edits + 16])[0] in range(2900, 3100)
    data[edits + 12 : edits + 16] = struct.pack(">I", 10 * 24 * 3_600_000)
    path.write_bytes(data)
    facts, _ = run(path)
    assert abs(facts.duration_ms - 2000) < 60
    assert any("cannot be" in warning for warning in facts.warnings)


def test_sound_alone_is_not_moved(tmp_path: Path) -> None:
    path = tmp_path / "talk.mka"
    encode(path, "matroska", "flac", noise(2, 48_000), 48_000, output_ts_offset="3")
    facts, _ = run(path)
    assert facts.duration_ms == 2000
