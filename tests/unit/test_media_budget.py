"""Bounds of reads, bytes and memory of a container inspection for any header. Counted, not timed."""

from __future__ import annotations

import itertools
import os
import struct
import tracemalloc
from pathlib import Path

import pytest

from dropscribe.media.container import reader
from dropscribe.media.container.inspect import inspect

#: Critical sizes: zero, the largest that fit, and one more.
EXTREMES = (0, 1, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1)
TERABYTES = 4 << 40


def u32(value: int, order: str = "<") -> bytes:
    return struct.pack(order + "I", value & 0xFFFF_FFFF)


def u64(value: int, order: str = "<") -> bytes:
    return struct.pack(order + "Q", value & 0xFFFF_FFFF_FFFF_FFFF)


def synchsafe(value: int) -> bytes:
    return bytes(value >> shift & 127 for shift in (21, 14, 7, 0))


def headers(a: int, b: int) -> dict[str, bytes]:
    """By name: a header of each format in which `a` and `b` determine how much is read."""
    fmt = b"fmt " + u32(16) + struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    return {
        "wav": b"RIFF" + u32(a) + b"WAVE" + b"junk" + u32(b) + fmt + b"data" + u32(a),
        "rifx": b"RIFX" + u32(a, ">") + b"WAVE" + b"junk" + u32(b, ">"),
        "rf64": b"RF64" + u32(0xFFFF_FFFF) + b"WAVEds64" + u32(28) + u64(a) + u64(b) + u64(a) + fmt + b"data" + u32(0xFFFF_FFFF),
        "w64": b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00" + u64(a) + bytes(16) + b"junk" + bytes(12) + u64(b),
        "aiff": b"FORM" + u32(a, ">") + b"AIFFCOMM" + u32(18, ">") + b"\x00\x01" + u32(b, ">") + b"\x00\x10" + b"\x40\x0e" + u64(a, ">") + b"SSND" + u32(a, ">"),
        "avi": b"RIFF" + u32(a) + b"AVI LIST" + u32(b),
        "caf": b"caff\x00\x01\x00\x00desc" + u64(a, ">") + b"data" + u64(b, ">"),
        "au": b".snd" + u32(a, ">") + u32(b, ">") + u32(3, ">") + u32(a, ">") + u32(b, ">"),
        "nist": b"NIST_1A\n" + str(a).encode()[:7].rjust(7) + b"\nsample_count -i " + str(b).encode() * 200 + b"\nchannel_count -i 1\nsample_n_bytes -i 2\nsample_rate -i 1\n",
        "nist negative": b"NIST_1A\n  -9999\nsample_count -i 1\n",
        "ogg": b"OggS\x00\x02" + u64(a) + u32(b) + bytes(8) + b"\xff" + b"\xff" * 255,
        "flac": b"fLaC\x00\x00\x00\x22" + b"\x10\x00\x10\x00" + u32(a)[:3] + u32(b)[:3] + b"\x0a\xc4\x42\xf0" + u32(b, ">") + bytes(16),
        "mp3": b"\xff\xfb\x90\x64" + bytes(32) + b"Xing" + u32(3, ">") + u32(a, ">") + u32(b, ">"),
        "mp3 behind tags": (b"ID3\x04\x00\x00" + synchsafe(0)) * 5000 + b"\xff\xfb\x90\x64",
        "mp3 behind a long tag": b"ID3\x04\x00\x10" + synchsafe(0x0FFF_FFFF),
        "adts": b"\xff\xf1\x50\x80" + u32(a) + u32(b),
        "amr": b"#!AMR\n" + bytes([0x7C]) * 64,
        "amr-wb": b"#!AMR-WB\n" + bytes([0x7C]) * 64,
        "mp4": b"\x00\x00\x00\x18ftypM4A " + bytes(12) + u32(1, ">") + b"mdat" + u64(a, ">"),
        "mp4 of empty boxes": b"\x00\x00\x00\x08free" * 4000,
        "mp4 deep": b"".join(u32(8 * (5000 - i), ">") + b"moov" for i in range(5000)),
        "matroska": b"\x1a\x45\xdf\xa3\x01" + u64(a, ">")[1:] + b"\x18\x53\x80\x67\x01" + u64(b, ">")[1:],
        "matroska deep": b"\x1a\x45\xdf\xa3\x80" * 5000,
        "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c" + u64(a) + u32(b) + b"\x01\x02" + bytes(16) + u64(b),
        "tta": b"TTA1\x01\x00\x01\x00\x10\x00" + u32(a) + u32(b) + u32(0),
        "tta slow": b"TTA1\x01\x00\x01\x00\x10\x00" + u32(1) + u32(b) + u32(0),
        "wavpack": b"wvpk" + u32(a) + b"\x10\x04\x00\x00" + u32(b) + u32(a) + u32(b) + u32(0x0480_0000) + u32(0),
        "riff lists": b"RIFF" + u32(a) + b"WAVE" + (b"LIST" + u32(4) + b"INFO") * 4000,
        "zero chunks": b"RIFF" + u32(a) + b"WAVE" + bytes(20_000),
    }  # fmt: skip


#: Content after a header up to the end of a huge file: holes, and apparent frames at every byte.
TAILS = {
    "a hole": b"",
    "flac frames": b"\xff\xf8" * 40_000,
    "adts frames": b"\xff\xf1\x50\x80\x00\xe0\xfc" * 12_000,
    "pages": b"OggS" * 40_000,
    "blocks": b"wvpk" * 60_000,
    "ones": b"\xff" * 100_000,
}
CASES = [
    *zip(EXTREMES, reversed(EXTREMES), itertools.repeat("a hole"), strict=False),
    *((2**31 - 1, 2**32 - 1, tail) for tail in TAILS if tail != "a hole"),
]


class Counted:
    """Wrapper of os.pread that counts calls and bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = self.bytes = 0
        self._real = os.pread
        monkeypatch.setattr(os, "pread", self)

    def __call__(self, fd: int, length: int, offset: int) -> bytes:
        self.reads += 1
        self.bytes += length
        return self._real(fd, length, offset)


@pytest.mark.parametrize("name", headers(0, 0))
def test_the_cost_of_an_inspection_is_bounded_for_any_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "file"
    for number, (a, b, tail) in enumerate(CASES):
        # Tracing takes four times as long as what is traced.
        traced = number % 3 == 0
        for size in (0, TERABYTES) if tail == "a hole" and a == EXTREMES[2] else (TERABYTES,):
            with path.open("wb") as file:
                file.write(headers(a, b)[name])
                if size:
                    file.truncate(size)
                    file.seek(size - len(TAILS[tail]))
                file.write(TAILS[tail])
            counted = Counted(monkeypatch)
            if traced:
                tracemalloc.start()
            check = inspect(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            monkeypatch.undo()
            about = (name, a, b, tail, size, check)
            assert check.present_bytes == path.stat().st_size, about
            assert counted.reads <= reader.MOST_READS + 16, about
            assert counted.bytes <= reader.MOST_BYTES + (1 << 16), about
            assert peak <= 8 * reader.MOST_AT_ONCE, about


def test_a_table_of_gigabytes_makes_completeness_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.tta"
    with path.open("wb") as file:
        file.write(b"TTA1\x01\x00\x01\x00\x10\x00" + u32(1) + u32(2**32 - 16) + bytes(4))
        file.truncate(40 << 30)
    check = inspect(path)
    assert (check.kind, check.whole) == ("tta", None)
    assert "not read to its end" in check.detail


def test_too_many_boxes_make_completeness_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_READS", 1000)
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00" + b"\x00\x00\x00\x08free" * 2000)
    assert inspect(path).whole is None
    path.write_bytes(b"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00" + b"\x00\x00\x00\x08free" * 500)
    assert inspect(path).whole is False
