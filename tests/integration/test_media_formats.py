"""Every format, complete, truncated and misnamed, through the real decoders (in this process)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from dropscribe.errors import (
    MediaLimitError,
    NoAudioError,
    RecordingChangedError,
    RecordingError,
    RecordingGoneError,
    StorageError,
    UnreadableMediaError,
)
from dropscribe.files import FileSignature
from dropscribe.media.container.inspect import inspect
from dropscribe.media.decode import Limits, decode
from tests.support.decoding import Collector, run
from tests.support.recordings import (
    AV_KINDS,
    KINDS,
    SOUNDFILE_KINDS,
    amr,
    cut,
    encode,
    make,
    noise,
    video_without_sound,
    with_data_size,
)

#: Lossy codecs add up to a frame or two of priming and padding.
LOSSY_MS = 100

LOSSLESS = {".wav", ".rf64", ".w64", ".aiff", ".au", ".sph", ".flac", ".mov", ".mka", ".wv", ".tta"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k[0][1:]}-{k[2]}")
def test_a_whole_recording_is_decoded_whole_and_without_complaint(
    kind: tuple[str, str, str | None], tmp_path: Path
) -> None:
    path = make(tmp_path, kind, 4.0)
    assert inspect(path).whole is not False
    facts, _ = run(path)
    tolerance = 1 if kind[0] in LOSSLESS else LOSSY_MS
    assert abs(facts.duration_ms - 4000) <= tolerance
    assert facts.truncated is None
    assert facts.warnings == ()
    assert facts.sample_rate_hz == 48_000
    assert facts.channels == 1


#: Length of truncated recordings if not 8, seconds: these formats have packets of up to 1 s, and an incomplete
#: packet is not decoded.
LONGER_S = {".ogg": 16.0, ".opus": 16.0, ".wv": 16.0, ".tta": 16.0}

#: Formats that do not declare the length; only the truncation is detected.
SILENT_ABOUT_LENGTH = {".ogg", ".opus", ".wma", ".aac"}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k[0][1:]}-{k[2]}")
def test_a_cut_recording_is_transcribed_as_far_as_it_goes_and_says_so(
    kind: tuple[str, str, str | None], share: float, tmp_path: Path
) -> None:
    whole_s = LONGER_S.get(kind[0], 8.0)
    path = cut(make(tmp_path, kind, whole_s), share)
    if kind[0] in {".m4a", ".mov"}:
        # Their index is at the end of the file.
        with pytest.raises(UnreadableMediaError, match=r"moov box missing[:,].* recorder was killed"):
            run(path)
        assert inspect(path).whole is False
        return
    facts, _ = run(path)
    assert abs(facts.duration_ms - share * whole_s * 1000) < 1200
    assert inspect(path).whole is False
    assert facts.truncated is not None
    assert f"ends after {facts.duration_ms / 1000:.1f} s" in facts.truncated
    if kind[0] not in SILENT_ABOUT_LENGTH:
        assert f"of the {whole_s:.0f}." in facts.truncated


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_mp3_without_an_index_is_cut_when_its_last_frame_is(share: float, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp3"
    encode(whole, "mp3", "libmp3lame", noise(8, 48_000), 48_000, write_xing="0")
    assert inspect(whole).whole is None
    path = cut(whole, share)
    facts, _ = run(path)
    assert facts.truncated is not None
    assert "inside a frame" in facts.truncated
    assert abs(facts.duration_ms - share * 8000) < LOSSY_MS


@pytest.mark.parametrize("wide", [False, True])
def test_a_telephone_recording_is_cut_when_its_last_frame_is(wide: bool, tmp_path: Path) -> None:
    path = tmp_path / "call.amr"
    data = amr(500, wide=wide)
    path.write_bytes(data)
    facts, _ = run(path)
    assert facts.truncated is None
    # Frames without audio (pauses) are no damage, and later audio keeps its time.
    assert abs(facts.duration_ms - 10_000) <= 40
    assert not any("damaged" in warning for warning in facts.warnings)
    path.write_bytes(data[: len(data) // 2 + 1])
    facts, _ = run(path)
    assert facts.truncated is not None
    assert "inside a frame" in facts.truncated


@pytest.mark.parametrize("kind", SOUNDFILE_KINDS[:4], ids=lambda k: k[0][1:])
def test_half_a_recording_says_how_much_of_how_much(
    kind: tuple[str, str, str | None], tmp_path: Path
) -> None:
    path = cut(make(tmp_path, kind, 20.0, rate_hz=16_000), 0.5)
    facts, _ = run(path)
    assert facts.truncated == "the file ends after 10.0 s of the 20.0 s its header declares"


def test_an_mp4_with_its_index_in_front_is_decoded_up_to_the_cut(tmp_path: Path) -> None:
    whole = tmp_path / "whole.m4a"
    encode(whole, "mp4", "aac", noise(8, 48_000), 48_000, movflags="faststart")
    assert inspect(whole).whole is True
    path = cut(whole, 0.5)
    assert inspect(path).whole is False
    facts, _ = run(path)
    assert 3000 < facts.duration_ms < 5000
    assert facts.truncated is not None
    assert "of the 8.0 s" in facts.truncated


def test_a_fragmented_mp4_is_read_without_its_end(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mp4"
    encode(
        whole,
        "mp4",
        "aac",
        noise(8, 48_000),
        48_000,
        movflags="frag_keyframe+empty_moov",
        frag_duration="1000000",
    )
    facts, _ = run(whole)
    assert abs(facts.duration_ms - 8000) <= LOSSY_MS
    assert facts.truncated is None
    path = cut(whole, 0.5)
    assert inspect(path).whole is False
    facts, _ = run(path)
    assert facts.duration_ms > 2000
    assert facts.truncated is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k[0][1:]}-{k[2]}")
def test_a_header_alone_fails_with_a_reason(kind: tuple[str, str, str | None], tmp_path: Path) -> None:
    whole = make(tmp_path, kind, 2.0)
    path = tmp_path / f"head{whole.suffix}"
    path.write_bytes(whole.read_bytes()[: 24 if whole.suffix == ".au" else 40])
    with pytest.raises(RecordingError) as caught:
        run(path)
    assert caught.value.path == path
    assert len(caught.value.reason) > 10


def test_an_empty_file_and_a_recording_of_nothing_fail_as_without_audio(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nothing.wav", noise(0), 16_000)
    for name in ("empty.wav", "nothing.wav"):
        with pytest.raises(NoAudioError):
            run(tmp_path / name)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_whose_length_was_never_filled_in_is_read_to_its_end(size: int, tmp_path: Path) -> None:
    whole = tmp_path / "whole.wav"
    pcm = noise(20)
    soundfile.write(whole, pcm, 16_000)
    path = with_data_size(whole, size)
    check = inspect(path)
    assert check.whole is None
    assert check.open_ended
    facts, got = run(path)
    assert np.array_equal(got, pcm[:, 0])
    assert facts.truncated is None
    assert any("does not say how long" in w for w in facts.warnings)


def test_an_empty_wav_with_tags_behind_it_is_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "tags.wav"
    soundfile.write(path, noise(0), 16_000)
    head = path.read_bytes()[:44]
    path.write_bytes(head + b"LIST" + (400).to_bytes(4, "little") + b"INFO" + bytes(396))
    with pytest.raises(NoAudioError):
        run(path)


def test_sixteen_kilohertz_mono_passes_bit_for_bit(tmp_path: Path) -> None:
    pcm = noise(30)
    pcm[:4, 0] = (-32_768, 32_767, -1, 1)
    for name, options in {
        "a.wav": {},
        "a.rf64": {"format": "RF64"},
        "a.w64": {"format": "W64"},
        "a.aiff": {},
        "a.flac": {},
        "a.au": {"subtype": "PCM_16"},
        "float.wav": {"subtype": "FLOAT"},
        "wide.wav": {"subtype": "PCM_24"},
    }.items():
        data = pcm if name != "float.wav" else pcm.astype(np.float32) / 32_768
        soundfile.write(tmp_path / name, data, 16_000, **options)
        _, got = run(tmp_path / name)
        assert np.array_equal(got, pcm[:, 0]), name


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_durations_hold_to_the_millisecond(rate_hz: int, channels: int, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    frames = rate_hz + 77
    soundfile.write(path, noise(frames / rate_hz, rate_hz, channels), rate_hz, subtype=subtype)
    facts, _ = run(path)
    assert abs(facts.duration_ms - 1000 * frames / rate_hz) <= 1
    assert (facts.channels, facts.sample_rate_hz) == (channels, rate_hz)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_level_and_place(rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "tone.flac"
    t = np.arange(2 * rate_hz) / rate_hz
    left = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(path, np.stack([left, left], axis=1), rate_hz)
    _, got = run(path)
    wanted = 0.5 * 32_768 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    assert np.abs(got[200:-200] - wanted[200:-200]).max() < 8


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        (AV_KINDS[7], "talk.wav", "content is mp3"),
        (AV_KINDS[0], "talk.mp3", "content is mp4"),
        (SOUNDFILE_KINDS[0], "talk.m4a", "content is wav"),
        (SOUNDFILE_KINDS[6], "talk.ogg", "content is flac"),
    ],
)
def test_a_wrong_extension_is_detected_and_reported(
    kind: tuple[str, str, str | None], name: str, says: str, tmp_path: Path
) -> None:
    path = make(tmp_path, kind, 3.0).rename(tmp_path / name)
    facts, _ = run(path)
    assert abs(facts.duration_ms - 3000) <= LOSSY_MS
    assert len(facts.warnings) == 1
    assert says in facts.warnings[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(5000), "PDF"),
        (b"PK\x03\x04" + bytes(5000), "ZIP"),
        (b"Dear Sir or Madam, the recording follows.\n" * 50, "text"),
        ("会议记录\n".encode() * 999, "text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
        (bytes(100_000), "nothing but zeros"),
        (np.random.default_rng(3).bytes(50_000), "no decoder"),
    ],
)
def test_files_that_are_no_recordings_fail_with_their_kind(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "meeting.mp3"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=says) as caught:
        run(path)
    assert isinstance(caught.value, UnreadableMediaError)


def test_a_video_without_sound_has_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    video_without_sound(path)
    with pytest.raises(NoAudioError, match="video and no audio"):
        run(path)


def test_a_file_that_changed_since_it_was_admitted_is_not_transcribed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1), 16_000)
    status = path.stat()
    right = FileSignature.of(status)
    decode(path, right, Limits(1), Collector())
    wrong = FileSignature(status.st_size, status.st_mtime_ns - 1, status.st_ino)
    with pytest.raises(RecordingChangedError):
        decode(path, wrong, Limits(1), Collector())


def test_a_file_that_changes_while_it_is_read_is_not_transcribed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(60), 16_000)

    class Toucher(Collector):
        def write(self, pcm: NDArray[np.int16]) -> None:
            super().write(pcm)
            os.utime(path, ns=(1, 1))

    with pytest.raises(RecordingChangedError):
        decode(path, None, Limits(1), Toucher())


def test_missing_and_unreadable_files_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordingGoneError):
        run(tmp_path / "gone.wav")
    with pytest.raises(UnreadableMediaError, match="regular file"):
        run(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UnreadableMediaError, match="regular file"):
        run(tmp_path / "pipe.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1), 16_000)
    path.chmod(0)
    with pytest.raises(StorageError) as caught:
        run(path)
    assert "read the file" in caught.value.remedy


def test_too_long_a_recording_stops_at_the_cap_and_a_lying_header_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(40), 16_000)
    with pytest.raises(MediaLimitError, match=r"longer than 0\.01 hours"):
        run(path, max_hours=0.01)
    liar = with_data_size(path, 0x70000000)
    facts, _ = run(liar, max_hours=0.02)
    assert facts.duration_ms == 40_000
    assert facts.truncated is not None


def test_nan_samples_become_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    data = noise(1)[:, 0].astype(np.float32) / 32_768
    data[100:200] = np.nan
    data[300] = np.inf
    soundfile.write(path, data, 16_000, subtype="FLOAT")
    facts, got = run(path)
    assert not got[100:200].any()
    assert got[300] == 0
    assert any("101 samples were not numbers" in w for w in facts.warnings)


def test_damage_in_the_middle_costs_only_what_is_damaged(tmp_path: Path) -> None:
    whole = make(tmp_path, SOUNDFILE_KINDS[6], 20.0)
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path = tmp_path / "hurt.flac"
    path.write_bytes(data)
    facts, _ = run(path)
    assert 19_000 < facts.duration_ms <= 20_000
    assert facts.truncated is None
    assert any("damaged" in w for w in facts.warnings), facts
