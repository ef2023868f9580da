"""Truncation check of formats that are sequences of frames, with generated files and no decoder."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from dropscribe.media.container.inspect import inspect
from tests.support.recordings import amr


def adts_frame(payload: int, fill: int = 0x21) -> bytes:
    """An AAC-LC frame of 48 kHz mono: 7 bytes of header, then `payload` bytes."""
    length = 7 + payload
    head = bytes([0xFF, 0xF1, 0x4C, 0x40 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 0x1F, 0xFC])
    return head + bytes([fill]) * payload


def mp3_frame() -> bytes:
    """128 kbit/s, 44.1 kHz, stereo: 417 bytes."""
    return b"\xff\xfb\x90\x00" + bytes(413)


def tta(samples: int, sizes: list[int]) -> bytes:
    head = struct.pack("<4sHHHIII", b"TTA1", 1, 1, 16, 48_000, samples, 0)
    return head + struct.pack(f"<{len(sizes)}I", *sizes) + bytes(4 + sum(sizes))


def wavpack(index: int, samples: int, total: int) -> bytes:
    head = struct.pack("<4sIHBBIIIII", b"wvpk", 24 + 100, 0x410, 0, 0, total, index, samples, 9 << 23, 0)
    return head + bytes(100)


#: Files of which only the tail is read, and short ones that are followed from the first frame.
WHOLE = {
    "adts": adts_frame(200) * 20,
    "adts-long": adts_frame(200) * 2000,
    "mp3": mp3_frame() * 20,
    "mp3-long": mp3_frame() * 1000,
    "amr": amr(100),
    "amr-long": amr(10_000),
    "amr-wb-long": amr(10_000, wide=True),
    "tta": tta(48_000, [500]),
    "wavpack": wavpack(0, 24_000, 48_000) + wavpack(24_000, 24_000, 48_000),
}


@pytest.mark.parametrize("name", WHOLE)
def test_only_a_truncated_file_is_reported_as_truncated(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    # Only some formats have a frame count; in others a file may end between any two frames.
    assert inspect(path).whole is (True if name in ("tta", "wavpack") else None)
    for missing in (1, 3):
        path.write_bytes(WHOLE[name][:-missing])
        check = inspect(path)
        assert check.whole is False, missing
        assert check.present_bytes == len(WHOLE[name]) - missing
        assert check.declared_bytes == len(WHOLE[name])
        assert check.detail


@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"APETAGEX" + bytes(200), bytes(50), b"??"])
def test_data_after_the_last_frame_is_not_truncation(tag: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3_frame() * 300 + tag)
    assert inspect(path).whole is None


def test_a_tag_before_the_frames_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.aac"
    data = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + adts_frame(100) * 10
    path.write_bytes(data)
    assert inspect(path).whole is None
    path.write_bytes(data[:-5])
    assert inspect(path).whole is False


def test_wavpack_without_its_last_blocks_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.wv"
    path.write_bytes(wavpack(0, 24_000, 48_000))
    check = inspect(path)
    assert check.whole is False
    assert check.declared_s == pytest.approx(48_000 / 44_100)


def test_unknown_lengths_in_wavpack_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.wv"
    path.write_bytes(wavpack(0, 24_000, 0xFFFF_FFFF))
    assert inspect(path).whole is None
