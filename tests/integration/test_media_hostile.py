"""Hostile files: the decoder pool survives, and each order ends once."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from dropscribe.config import MediaSettings
from dropscribe.errors import RecordingError, StorageError
from dropscribe.media.decode import Limits, decode
from dropscribe.media.protocol import DecodeDone, DecodeFailed
from tests.support.decoders import Bench
from tests.support.decoding import Collector
from tests.support.recordings import AV_KINDS, KINDS, SOUNDFILE_KINDS, huge_picture, make, noise

#: Number of mutants of each format; the seed is fixed, so that failures are reproducible.
MUTANTS = 6


def mutants(whole: Path, rng: np.random.Generator) -> list[Path]:
    """Copies with flipped bytes (mostly in the header), swapped halves, and doubled middles."""
    data = whole.read_bytes()
    made = []
    for number in range(MUTANTS):
        copy = bytearray(data)
        for _ in range(1 << number):
            reach = len(copy) if rng.random() < 0.3 else min(len(copy), 600)
            copy[int(rng.integers(reach))] = int(rng.integers(256))
        if number == 4:
            half = len(copy) // 2
            copy = copy[:200] + copy[half:] + copy[200:half]
        path = whole.with_name(f"{number}-{whole.stem}{whole.suffix}")
        path.write_bytes(copy)
        made.append(path)
    return made


def test_mutants_of_every_format_end_and_the_pool_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(20)
    files: list[Path] = []
    for number, kind in enumerate(KINDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        files += mutants(make(folder, kind, 1.0), rng)
    good = make(tmp_path, SOUNDFILE_KINDS[0], 1.0)
    bench = Bench(MediaSettings.model_validate({"max_hours": 0.1}))
    try:
        todo = list(enumerate(files))
        while len(bench.ends) < len(files):
            while todo and bench.pool.idle() and len(bench.free) > 1:
                bench.start(*todo.pop(0))
            bench.step()
            bench.pcm.clear()
        for ticket, end in bench.ends.items():
            if isinstance(end, DecodeFailed):
                assert end.code in {"unreadable_media", "no_audio", "media_limit"}, (files[ticket], end)
            else:
                assert end.facts.duration_ms < 0.1 * 3600 * 1000
        assert sorted(bench.free) == sorted(bench.all_slots)
        bench.start(-1, good)
        bench.until(-1)
        assert bench.done(-1).facts.duration_ms == 1000
    finally:
        bench.close()


def test_a_header_that_asks_for_all_memory_gets_none(tmp_path: Path) -> None:
    """An ID3 picture of 250 MiB (a sparse file) in front of an mp3, under a limit of 256 MiB."""
    audio = make(tmp_path, AV_KINDS[7], 1.0).read_bytes()
    size = 250 * 1024 * 1024

    def synchsafe(n: int) -> bytes:
        return bytes(n >> shift & 127 for shift in (21, 14, 7, 0))

    bomb = tmp_path / "bomb.mp3"
    picture = b"\x00image/png\x00\x03\x00"
    head = b"ID3\x04\x00\x00" + synchsafe(size + 10) + b"APIC" + synchsafe(size) + bytes(2) + picture
    with bomb.open("wb") as out:
        out.write(head)
        out.seek(10 + size + 10)
        out.write(audio)
    good = make(tmp_path, SOUNDFILE_KINDS[0], 1.0)
    bench = Bench(MediaSettings.model_validate({"memory_mb": 256}), workers=1)
    try:
        bench.settle()
        peak = 0
        bench.start(1, bomb)
        while 1 not in bench.ends:
            bench.step()
            peak = max(peak, psutil.Process(bench.pids()[0]).memory_info().rss)
        end = bench.ends[1]
        if isinstance(end, DecodeFailed):
            assert end.code in {"media_limit", "unreadable_media"}
        assert peak < 420 * 1024 * 1024
        bench.start(2, good)
        bench.until(2)
        bench.done(2)
    finally:
        bench.close()


def test_hours_of_compressed_silence_stop_at_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as out:
        for _ in range(60):
            out.write(np.zeros((60 * 16_000, 1), np.int16))
    assert path.stat().st_size < 500_000
    bench = Bench(MediaSettings.model_validate({"max_hours": 0.25}), workers=1)
    try:
        bench.start(1, path)
        bench.until(1)
        assert bench.failed(1).code == "media_limit"
        assert "0.25 hours" in bench.failed(1).reason
    finally:
        bench.close()


TEN_DAYS_S = 10 * 24 * 3600


def claiming_ten_days(kind: tuple[str, str, str | None], folder: Path) -> Path:
    """A recording of 2 s whose header declares ten days."""
    path = make(folder, kind, 2.0, rate_hz=1_000 if kind[0] == ".wav" else 48_000)
    data = bytearray(path.read_bytes())
    match kind[0]:
        case ".wav":  # at 1 kHz, so that the size fits into 32 bits
            data[4:8] = data[40:44] = struct.pack("<I", TEN_DAYS_S * 2_000)
        case ".rf64":
            at = data.index(b"ds64") + 8
            data[at : at + 24] = struct.pack("<QQQ", *[TEN_DAYS_S * 96_000] * 2, TEN_DAYS_S * 48_000)
        case ".w64":
            at = data.index(b"data") + 16
            data[at : at + 8] = data[16:24] = struct.pack("<Q", TEN_DAYS_S * 96_000)
        case ".flac":
            packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | TEN_DAYS_S * 48_000 & (1 << 36) - 1
            data[18:26] = packed.to_bytes(8, "big")
        case ".m4a":
            for name, at in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
                place = data.index(name) + at
                data[place : place + 4] = struct.pack(">I", 0xFFFF_FFF0)
        case ".webm":
            at = data.index(b"\x44\x89\x88") + 3
            data[at : at + 8] = struct.pack(">d", TEN_DAYS_S * 1000.0)
        case ".mp3":
            at = data.index(b"Xing" if b"Xing" in data else b"Info") + 8
            data[at : at + 4] = struct.pack(">I", TEN_DAYS_S * 48_000 // 1152)
        case _:
            raise AssertionError(kind)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "kind",
    [k for k in KINDS if k[0] in {".wav", ".rf64", ".w64", ".flac", ".m4a", ".webm"} or k in AV_KINDS[7:8]],
    ids=lambda k: k[0][1:],
)
def test_a_header_that_claims_ten_days_costs_what_is_there(
    kind: tuple[str, str, str | None], tmp_path: Path
) -> None:
    """A declared length exceeds no limit; missing audio is reported."""
    sink = Collector()
    facts = decode(claiming_ten_days(kind, tmp_path), None, Limits(0.01), sink)
    assert abs(facts.duration_ms - 2000) < 100
    assert sink.openings[0][1] is not None
    # The declared length of Matroska and MP4 may be that of the picture.
    assert facts.truncated is not None or facts.warnings or kind[0] in {".m4a", ".webm"}


def test_a_recording_without_an_end_is_stopped(tmp_path: Path) -> None:
    """1 s of audio, then a terabyte of zeros (a sparse file), in which the decoder searches for frames."""
    endless = make(tmp_path, AV_KINDS[7], 1.0)
    os.truncate(endless, 1 << 40)
    good = make(tmp_path, SOUNDFILE_KINDS[0], 1.0)
    bench = Bench(MediaSettings.model_validate({"stall_s": 2.0}), workers=1)
    try:
        bench.settle()
        before = bench.pids()
        bench.start(1, endless)
        bench.until(1)
        assert bench.failed(1).code == "media_limit"
        assert "brought nothing for 2 s" in bench.failed(1).reason
        assert not psutil.pid_exists(before[0])
        bench.start(2, good)
        bench.until(2)
        bench.done(2)
    finally:
        bench.close()


@pytest.mark.parametrize(("claimed_mb", "real_mb"), [(3500, 1), (400, 400)])
def test_a_compressed_index_that_unpacks_to_more_than_there_is_memory(
    claimed_mb: int, real_mb: int, tmp_path: Path
) -> None:
    """QuickTime may compress its index with zlib, by a factor of up to a thousand."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(real_mb)) + packer.flush()

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    index = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", claimed_mb << 20) + packed)
    bomb = tmp_path / "bomb.mov"
    bomb.write_bytes(box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"cmov", index)))
    good = make(tmp_path, SOUNDFILE_KINDS[0], 1.0)
    bench = Bench(MediaSettings.model_validate({"memory_mb": 256}), workers=1)
    try:
        bench.settle()
        bench.start(1, bomb)
        peak = 0
        while 1 not in bench.ends:
            bench.step()
            with contextlib.suppress(psutil.Error):  # the process may exit meanwhile
                peak = max(peak, psutil.Process(bench.pids()[0]).memory_info().rss)
        assert bench.failed(1).code in {"media_limit", "unreadable_media"}
        assert peak < 420 * 1024 * 1024
        bench.start(2, good)
        bench.until(2)
        bench.done(2)
    finally:
        bench.close()


@pytest.mark.parametrize("side", [16_000, 65_500])
def test_a_huge_picture_beside_the_sound_is_not_decoded(side: int, tmp_path: Path) -> None:
    path = tmp_path / "huge.mov"
    huge_picture(path, side)
    bench = Bench(MediaSettings.model_validate({}), workers=1)
    try:
        bench.settle()
        bench.start(1, path)
        peak = 0
        while 1 not in bench.ends:
            bench.step()
            peak = max(peak, psutil.Process(bench.pids()[0]).memory_info().rss)
        assert bench.done(1).facts.duration_ms == 2000
        assert peak < 200 * 1024 * 1024
    finally:
        bench.close()


@pytest.mark.parametrize("channels", [1, 255])
def test_many_channels_do_not_multiply_memory(channels: int, tmp_path: Path) -> None:
    path = tmp_path / "wide.wav"
    soundfile.write(path, noise(3, 16_000, channels), 16_000)
    bench = Bench(MediaSettings.model_validate({"memory_mb": 256}), workers=1)
    try:
        bench.start(1, path)
        bench.until(1)
        end = bench.ends[1]
        assert isinstance(end, DecodeDone), end
        assert end.facts.duration_ms == 3000
    finally:
        bench.close()


def test_a_recording_replaced_under_its_name_is_not_mixed(tmp_path: Path) -> None:
    """The file is replaced while its first half waits for a slot: decoding continues with the open file."""
    path = tmp_path / "a.wav"
    first = noise(20, seed=1)
    soundfile.write(path, first, 16_000)
    other = tmp_path / "b.wav"
    soundfile.write(other, noise(20, seed=2), 16_000)
    bench = Bench(MediaSettings.model_validate({}), workers=1)
    try:
        bench.start(1, path, slots=1)
        bench.until_wanting(1)
        other.replace(path)
        bench.until(1)
        assert bench.done(1).facts.duration_ms == 20_000
        assert np.array_equal(np.concatenate(bench.pcm[1]), first[:, 0])
    finally:
        bench.close()


def test_a_recording_cut_while_it_is_read_is_called_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(20), 16_000)
    bench = Bench(MediaSettings.model_validate({}), workers=1)
    try:
        bench.start(1, path, slots=1)
        bench.until_wanting(1)
        os.truncate(path, 1000)
        deadline = time.monotonic() + 60
        while 1 not in bench.ends and time.monotonic() < deadline:
            bench.step()
        assert bench.failed(1).code == "recording_changed"
        assert bench.failed(1).retryable
    finally:
        bench.close()


def test_damage_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    """FFmpeg reports "Input/output error" for a wrong index position in Matroska, without a disk error."""
    whole = make(tmp_path, AV_KINDS[3], 1.0)
    data = whole.read_bytes()
    place = data.rfind(b"\x53\xac", 0, 200)  # the last entry of the index: its name, then its value
    assert place > 0
    hurt = whole.with_name("hurt.webm")
    for value in range(0, 256, 16):
        for at in (0, 3, 4):
            hurt.write_bytes(data[: place + at] + bytes([value]) + data[place + at + 1 :])
            with contextlib.suppress(RecordingError):  # decoded or refused: both will do
                decode(hurt, None, Limits(1), Collector())


def test_a_disk_that_fails_is_not_blamed_on_the_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The decoder fails at a position that cannot be read: a storage fault, to be retried."""
    hurt = tmp_path / "hurt.webm"
    hurt.write_bytes(make(tmp_path, AV_KINDS[3], 1.0).read_bytes())

    def trouble(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", trouble)
    with pytest.raises(StorageError, match="Input/output error"):
        decode(hurt, None, Limits(1), Collector())
