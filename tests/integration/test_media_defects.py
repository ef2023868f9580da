"""Formal defects: the recording is whole at once, without a remark; nothing of its sound is left out."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dropscribe.errors import MediaLimitError
from dropscribe.media.container.inspect import inspect
from tests.support.decoding import run
from tests.support.recordings import AV_KINDS, SOUNDFILE_KINDS, amr, encode, make, noise

ID3V1 = b"TAG" + b"A title of thirty characters ..".ljust(125, b"\0")
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 40 + 32, 1, 1 << 31) + bytes(8)
APE += (
    b"\x10\0\0\0\0\0\0\0Title\0".ljust(40, b"x")
    + b"APETAGEX"
    + struct.pack("<IIII", 2000, 40 + 32, 1, 1 << 31)
    + bytes(8)
)
LYRICS = b"LYRICSBEGININD00002" + b"10" + b"LYR00010[00:00]abc"
LYRICS += b"%06d" % len(LYRICS) + b"LYRICS200"
TAGS = {"id3v1": ID3V1, "ape": APE, "ape+id3v1": APE + ID3V1, "lyrics3+id3v1": LYRICS + ID3V1}

MP3, M4A, OPUS, WEBM, WMA, AAC = (AV_KINDS[i] for i in (7, 0, 2, 3, 5, 6))
WAV, RF64, W64, AIFF, AU, FLAC, VORBIS = (SOUNDFILE_KINDS[i] for i in (0, 1, 2, 3, 4, 6, 7))


def ogg_crc(page: bytes) -> int:
    """RFC 3533, section 6, field 7."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def assert_sound(path: Path, seconds: float = 4.0) -> None:
    """It is complete at once, without a remark, and has all its sound."""
    assert inspect(path).whole is not False
    facts, _ = run(path)
    assert abs(facts.duration_ms - 1000 * seconds) <= 100
    assert facts.truncated is None
    assert facts.warnings == ()


@pytest.mark.parametrize("kind", [OPUS, VORBIS], ids=["opus", "vorbis"])
def test_an_ogg_without_the_mark_of_its_end(kind: tuple[str, str, str | None], tmp_path: Path) -> None:
    path = make(tmp_path, kind, 4.0)
    data = path.read_bytes()
    at = data.rfind(b"OggS")
    page = bytearray(data[at:])
    assert page[5] & 4
    page[5] &= ~4
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", ogg_crc(bytes(page)))
    path.write_bytes(data[:at] + page)
    assert_sound(path)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    "kind", [M4A, WEBM, WMA, AAC, OPUS, FLAC, MP3, WAV, AIFF, AU], ids=lambda k: k[0][1:]
)
def test_tags_of_players_at_the_end(kind: tuple[str, str, str | None], tag: str, tmp_path: Path) -> None:
    path = make(tmp_path, kind, 4.0)
    path.write_bytes(path.read_bytes() + TAGS[tag])
    assert_sound(path)


@pytest.mark.parametrize("excess", [8, 36, 44])
@pytest.mark.parametrize("kind", [WAV, RF64, W64, AIFF, AU], ids=lambda k: k[0][1:])
def test_a_data_size_that_counts_the_header(
    kind: tuple[str, str, str | None], excess: int, tmp_path: Path
) -> None:
    path = make(tmp_path, kind, 4.0)
    path.write_bytes(path.read_bytes()[:-excess])
    assert_sound(path)


def test_a_data_size_that_is_the_size_of_the_file_with_a_long_header(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    pcm = noise(4)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    head = b"RIFF\0\0\0\0WAVE" + b"bext" + struct.pack("<I", 602) + bytes(602) + fmt + b"data"
    size = len(head) + 4 + pcm.nbytes
    path.write_bytes(head + struct.pack("<I", size) + pcm.tobytes())
    assert_sound(path)


@pytest.mark.parametrize(
    ("subtype", "block"), [("GSM610", 65), ("IMA_ADPCM", 256), ("MS_ADPCM", 256)], ids=["gsm", "ima", "ms"]
)
@pytest.mark.parametrize("excess", [1, 30, 64])
def test_a_last_block_that_is_not_filled(subtype: str, block: int, excess: int, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, noise(4, 8_000), 8_000, subtype=subtype)
    path.write_bytes(path.read_bytes()[:-excess])
    assert excess < block
    assert_sound(path)


@pytest.mark.parametrize(
    "tail",
    [
        bytes(3),
        bytes(100),
        bytes(70_000),
        struct.pack(">I4s", 900, b"free"),
        struct.pack(">I4s", 5000, b"uuid") + bytes(99),
    ],
    ids=["few-zeros", "zeros", "many-zeros", "cut-free", "cut-uuid"],
)
def test_what_follows_the_sound_of_an_mp4_does_not_matter(tail: bytes, tmp_path: Path) -> None:
    path = make(tmp_path, M4A, 4.0)
    path.write_bytes(path.read_bytes() + tail)
    assert_sound(path)


def test_less_than_a_frame_at_the_end_of_an_mp4_is_no_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    encode(path, "mp4", "aac", noise(4, 48_000), 48_000, movflags="faststart")
    data = path.read_bytes()
    for missing in (20, 200):
        path.write_bytes(data[:-missing])
        facts, _ = run(path)
        assert (facts.truncated, facts.warnings) == (None, ())
    path.write_bytes(data[: -len(data) // 10])
    facts, _ = run(path)
    assert facts.truncated is not None


def test_an_avi_without_its_index_is_whole_and_one_without_its_end_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    encode(path, "avi", "mp3", noise(4, 48_000), 48_000)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"idx1") + 20])
    assert_sound(path)
    path.write_bytes(data[: len(data) // 2])
    assert inspect(path).whole is False


def test_zeros_after_the_last_frame_of_a_telephone_recording(tmp_path: Path) -> None:
    path = tmp_path / "call.amr"
    path.write_bytes(amr(200) + bytes(27))
    assert inspect(path).whole is not False
    facts, _ = run(path)
    assert facts.truncated is None
    assert not any("damaged" in warning for warning in facts.warnings)


def test_a_flac_that_declares_a_part_of_a_frame_too_much(tmp_path: Path) -> None:
    path = make(tmp_path, FLAC, 4.0)
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26], "big") + 1000
    data[18:26] = packed.to_bytes(8, "big")
    path.write_bytes(data)
    assert_sound(path)


def stale(path: Path, seconds: float, rate_hz: int) -> None:
    """Make the header declare less than there is."""
    data = bytearray(path.read_bytes())
    share = seconds / 4
    match path.suffix:
        case ".wav" | ".rf64":
            at = data.index(b"data") + 4
            if path.suffix == ".rf64":
                at = data.index(b"ds64") + 16
            size = int.from_bytes(data[at : at + 4], "little")
            data[at : at + 4] = struct.pack("<I", int(size * share) // 24 * 24)
        case ".w64":
            at = data.index(b"data\xf3") + 16
            size = int.from_bytes(data[at : at + 8], "little") - 24
            data[at : at + 8] = struct.pack("<Q", int(size * share) // 24 * 24 + 24)
        case ".aiff":
            at = data.index(b"SSND") + 4
            size = int.from_bytes(data[at : at + 4], "big") - 8
            data[at : at + 4] = struct.pack(">I", int(size * share) // 24 * 24 + 8)
            at = data.index(b"COMM") + 10
            data[at : at + 4] = struct.pack(">I", int(seconds * rate_hz))
        case ".au":
            size = int.from_bytes(data[8:12], "big")
            data[8:12] = struct.pack(">I", int(size * share) // 24 * 24)
        case ".caf":
            at = data.index(b"data") + 4
            size = int.from_bytes(data[at : at + 8], "big") - 4
            data[at : at + 8] = struct.pack(">Q", int(size * share) // 24 * 24 + 4)
    path.write_bytes(data)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize("extension", [".wav", ".rf64", ".w64", ".aiff", ".au", ".caf"])
def test_sound_beyond_the_declared_end_is_read(extension: str, subtype: str, tmp_path: Path) -> None:
    """A recorder writes the length now and then, and was stopped before the last time."""
    path = tmp_path / f"a{extension}"
    pcm = noise(4, 16_000, 2)
    soundfile.write(path, pcm / 32_768, 16_000, subtype=subtype, format={".rf64": "RF64"}.get(extension))
    _, wanted = run(path)
    stale(path, 1.0, 16_000)
    assert inspect(path).whole is not False
    facts, got = run(path)
    assert np.array_equal(got, wanted)
    assert (facts.truncated, facts.sample_rate_hz, facts.channels) == (None, 16_000, 2)
    assert len(facts.warnings) == 1
    assert "declares 1.0 s, but sound follows to the end of the file (4.0 s)" in facts.warnings[0]


@pytest.mark.parametrize("codec", ["adpcm_ms", "adpcm_ima_wav", "mp3", "GSM610"])
def test_sound_of_other_codecs_beyond_the_declared_end_of_a_wav_is_read(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    if codec == "GSM610":
        soundfile.write(path, noise(4, 8_000), 8_000, subtype=codec)
    else:
        encode(path, "wav", codec, noise(4, 16_000), 16_000)
    stale(path, 1.0, 16_000)
    facts, _ = run(path)
    assert abs(facts.duration_ms - 4000) <= 150
    assert facts.truncated is None


CHUNKS = {
    "LIST": b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf58.29.100\0",
    "bext": b"bext" + struct.pack("<I", 602) + bytes(602),
    "id3": b"id3 " + struct.pack("<I", 20) + b"ID3\x04" + bytes(16),
    "own": b"xYz1" + struct.pack("<I", 4) + b"abcd" + b"LIST" + struct.pack("<I", 4) + b"adtl",
    "odd": b"note" + struct.pack("<I", 3) + b"abc\0" + b"cue " + struct.pack("<I", 4) + bytes(4),
    "unpadded": b"LIST" + struct.pack("<I", 5) + b"INFO\0",
    "cut": b"LIST" + struct.pack("<I", 4000) + b"INFO" + bytes(96),
    "id3v2": b"ID3\x04\x00\x00\x00\x00\x00\x20" + bytes(32),
    "zeros": bytes(4096),
    "damaged": b"ISTt\0\0\0INFOICMT\x02\0\0\0\0\0ICOP\xef\xff\xff\xffQ Sound\0INAM",
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("odd", [False, True])
def test_chunks_after_the_sound_are_no_sound(name: str, odd: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    pcm = noise(4)[:-1] if odd else noise(4)
    data = (pcm >> 8).astype(np.int8).tobytes() if odd else pcm.tobytes()
    fmt = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 16_000 if odd else 32_000, 1 if odd else 2, 8 if odd else 16
    )
    head = b"RIFF\0\0\0\0WAVE" + fmt + b"data" + struct.pack("<I", len(data))
    path.write_bytes(head + data + b"\0" * odd + CHUNKS[name])
    facts, got = run(path)
    assert len(got) == len(pcm)
    assert (facts.truncated, facts.warnings) == (None, ())


def overflowed(path: Path, real: int, tail: bytes = b"") -> None:
    """A (sparse) WAV whose `real` bytes of sound do not fit into its 32-bit size."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 48_000, 192_000, 4, 16)
    head = (
        b"RIFF"
        + struct.pack("<I", (real + 36) % 2**32)
        + b"WAVE"
        + fmt
        + b"data"
        + struct.pack("<I", real % 2**32)
    )
    with path.open("wb") as file:
        file.write(head)
        file.seek(44 + real)
        file.write(tail)
        os.truncate(file.fileno(), 44 + real + len(tail))


@pytest.mark.parametrize("tail", [b"", CHUNKS["LIST"]], ids=["bare", "with-list"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_wav_beyond_4_gib_is_read_to_its_end(times: int, tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "night.wav"
    real = times * 2**32 + 10 * 192_000
    overflowed(path, real, tail)
    check = inspect(path)
    assert check.whole is not False
    assert check.pcm is not None
    assert (check.pcm.start, check.pcm.end) == (44, 44 + real)
    assert check.remark == ""
    with pytest.raises(MediaLimitError, match="longer than"):
        run(path, max_hours=0.01)


def test_a_stream_beyond_2_gib_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    """SoX and others write 0x7FFFF000 where they cannot know."""
    path = tmp_path / "stream.wav"
    overflowed(path, 0x7FFF_F000)
    os.truncate(path, 44 + 3 * 2**30)
    check = inspect(path)
    assert check.pcm is not None
    assert check.pcm.end == 44 + 3 * 2**30
